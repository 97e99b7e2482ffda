"""Killed at any moment: the next call completes, and its results are those of an undisturbed run elsewhere."""

import random
import time

from minlm.atomic import sha256

MADE = (
    "data/corpus/train.txt", "data/tokenizer/word_counts.npz", "data/tokenizer/vocab.json",
    "data/tokenizer/merges.txt", "data/tokens/train.npy", "data/tokens/valid.npy", "results/model.pt",
    "results/samples.txt", "results/evaluation.json",
)  # fmt: skip
ASKED = MADE[-2:]


def hashes(checkout):
    return {path: sha256(checkout.folder / path) for path in MADE}


def wait_for(path, process, seconds=120):
    """Until the file is there; the log of a job appears when it starts to work."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)


def test_killed_in_tokenize_and_train_then_completed(finished, new_checkout):
    checkout = new_checkout()
    moments = random.Random(0)
    for log, longest in [("tokenize_train.log", 0.3), ("train.log", 0.5), ("train.log", 1.0), ("train.log", 2.0)]:
        (checkout.folder / "logs" / log).unlink(missing_ok=True)
        process = checkout.start(*ASKED)
        wait_for(checkout.folder / "logs" / log, process)
        time.sleep(moments.uniform(0, longest))
        checkout.kill(process)
    checkout.run(*ASKED)
    assert hashes(checkout) == hashes(finished)
    assert checkout.stale(ASKED[0], target=ASKED[1]) == {}
    leftovers = [path for path in checkout.folder.rglob(".*") if path.name != ".snakemake" and "tmp" in path.name]
    assert leftovers == []


def test_a_second_workflow_in_the_same_folder_is_turned_away(new_checkout):
    checkout = new_checkout()
    process = checkout.start("all")
    wait_for(checkout.folder / ".snakemake/minlm.lock", process)
    output = checkout.run("results/samples.txt", status=1)
    assert "another snakemake is working in this folder" in output
    assert "Traceback" not in output
    checkout.kill(process)
    checkout.run("data/corpus/train.txt")  # the lock went with the process
