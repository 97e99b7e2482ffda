"""After a kill at any moment the next call completes, with the same results as an undisturbed run elsewhere."""

import os
import random
import re
import signal
import time
from contextlib import suppress

import pytest

from minlm.atomic import sha256
from minlm.transformer.checkpoint import load_tensors

MADE = (
    "data/corpus/train.txt", "data/tokenizer/word_counts.npz", "data/tokenizer/vocab.json",
    "data/tokenizer/merges.txt", "data/tokens/train.npy", "data/tokens/valid.npy", "results/model.pt",
    "results/samples.txt", "results/evaluation.json",
)  # fmt: skip
ASKED = MADE[-2:]


def hashes(checkout):
    return {path: sha256(checkout.folder / path) for path in MADE}


def wait_for(condition, process, seconds=120):
    """Wait until the condition holds; fail if the process ends first."""
    end = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.01)


def no_process_of_group(number):
    with suppress(ProcessLookupError):
        os.killpg(number, 0)
        return False
    return True


LONGER = "total_tokens: 64000, save_interval: 50, eval_interval: 500"  # 1,000 steps


class Killed:
    """A checkout in which snakemake is killed and started again."""

    def __init__(self, checkout, devices):
        self.checkout, self.heads = checkout, []
        self.settings = ("--config", f"training={{{LONGER}, devices: {devices}}}")
        self.state = checkout.folder / "results/.model.pt.in_progress"
        self.log = checkout.folder / "logs/train.log"

    def start(self, log="train.log"):
        """Start snakemake; return when the job with this log runs."""
        log = self.checkout.folder / "logs" / log
        log.unlink(missing_ok=True)
        self.heads.append(self.checkout.start(*ASKED, *self.settings))
        wait_for(log.exists, self.heads[-1])
        return self.heads[-1]

    def trained(self, beyond=0):
        """Wait until the trainer has saved more steps than `beyond`; return how many."""
        wait_for(lambda: self.saved() > beyond, self.heads[-1])
        return self.saved()

    def saved(self):
        path = self.state / "checkpoint.pt"
        return load_tensors(path)["iteration"] if path.exists() else 0

    def trainer(self):
        return int((self.state / "lock").read_text().split()[1])

    def continued(self):
        """The steps at which a trainer continued, according to the current log."""
        return [int(step.replace(",", "")) for step in re.findall(r"run at step ([\d,]+)", self.log.read_text())]


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.slow)])  # 2: torchrun and two trainers
def killed(request, new_checkout):
    made = Killed(new_checkout(), request.param)
    yield made
    for head in made.heads:  # left by a failed test
        with suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)


def test_any_of_its_processes_killed_then_completed(finished, killed):
    checkout = killed.checkout

    head = killed.start("tokenize_train.log")  # the head alone, at any moment of a job
    time.sleep(random.uniform(0, 0.3))
    head.kill()

    head = killed.start()  # the head alone; its trainer is slow to notice
    killed.trained()
    orphan = killed.trainer()
    os.kill(orphan, signal.SIGSTOP)
    reached = killed.saved()
    head.kill()
    head = killed.start()
    wait_for(lambda: f"waiting: another trainer is using results/.model.pt.in_progress/ (process {orphan} on" in
             killed.log.read_text(), head)  # fmt: skip
    os.kill(orphan, signal.SIGCONT)
    wait_for(killed.continued, head)
    assert killed.continued()[0] >= reached

    reached = killed.trained(reached)  # the trainer alone
    os.kill(killed.trainer(), signal.SIGKILL)
    assert "train failed. Its log is logs/train.log" in head.communicate()[0]
    assert head.returncode == 1

    head = killed.start()  # all processes at once
    wait_for(killed.continued, head)
    assert killed.continued()[0] >= reached
    checkout.kill(head)

    head = killed.start()  # the head alone, after the trainer has ended but before the head notices
    head.send_signal(signal.SIGSTOP)
    wait_for((checkout.folder / "results/.model.pt.finished/record.json").exists, head)
    head.kill()

    checkout.run(*ASKED, *killed.settings)
    assert "this training had already finished" in killed.log.read_text()
    assert "training:" not in killed.log.read_text()
    for head in killed.heads:
        head.communicate()
        wait_for(lambda head=head: no_process_of_group(head.pid), None, 10)
    made, others = hashes(checkout), hashes(finished)
    assert [path for path in MADE if made[path] != others[path] and "results" not in path] == []
    assert checkout.stale(*killed.settings, target=ASKED[1]) == {}
    hidden = {path.name for path in checkout.folder.rglob(".*")} - {".snakemake"}
    assert {name for name in hidden if "model" in name or "tmp" in name} == set()

    checkout.run("results/model.pt", "--forcerun", "train", *killed.settings)  # undisturbed, from the start
    assert killed.continued() == []
    assert "1,000 steps" in killed.log.read_text()
    assert hashes(checkout) == made


def test_a_second_workflow_in_the_same_folder_is_turned_away(new_checkout):
    checkout = new_checkout()
    process = checkout.start("all")
    wait_for((checkout.folder / ".snakemake/minlm.lock").exists, process)
    output = checkout.run("results/samples.txt", status=1)
    assert "another snakemake is working in this folder" in output
    assert "Traceback" not in output
    checkout.kill(process)
    checkout.run("data/corpus/train.txt")  # the lock went with the process
