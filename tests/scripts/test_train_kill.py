"""nlm-train killed at random moments, told to stop, started twice: the result is that of an undisturbed run."""

import contextlib
import csv
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import TIMING

from minlm.atomic import sha256
from minlm.scripts import train
from minlm.training.trainer import Trainer
from minlm.transformer.checkpoint import load_tensors

FLAGS = shlex.split(
    "--vocab_size 64 --context_length 16 --d_model 32 --num_layers 1 --num_heads 2 --d_ff 64 --batch_size 4 "
    "--total_tokens 19200 --warmup_iters 10 --lr_max 1e-2 --lr_min 1e-3 --device cpu --threads 1 "
    "--eval_interval 35 --save_interval 10 "
    "--train_tokens train.npy --val_tokens valid.npy --checkpoint_path model.pt --log_csv metrics.csv"
)
STEPS = 300


@pytest.fixture(autouse=True, scope="module")
def as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


class Run:
    """Training in a folder of its own, in a process group of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        tokens = np.arange(6000) * 7 % 61
        tokens[np.random.default_rng(0).random(6000) < 0.3] = 3
        np.save(folder / "train.npy", tokens.astype(np.uint16))
        np.save(folder / "valid.npy", tokens[:700].astype(np.uint16))
        self.state = folder / ".model.pt.in_progress"

    def start(self, *more: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "minlm.scripts.train", *FLAGS, *more],
            cwd=self.folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def finish(self, *more: str) -> None:
        """Train to the end, in this process: what a restart could forget is forgotten, the files are all it has."""
        with contextlib.chdir(self.folder):
            train.main([*FLAGS, *more])

    def wait_for_checkpoint(self, process: subprocess.Popen, newer_than: float = 0) -> float:
        """Until an in-progress checkpoint younger than that is there; its time."""
        path = self.state / "checkpoint.pt"
        end = time.monotonic() + 60
        while not path.exists() or path.stat().st_mtime <= newer_than:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.002)
        return path.stat().st_mtime

    def result(self) -> tuple[str, list[dict[str, str]]]:
        with open(self.folder / "metrics.csv", newline="") as handle:
            rows = [{k: v for k, v in row.items() if k not in TIMING} for row in csv.DictReader(handle)]
        return sha256(self.folder / "model.pt"), rows

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("undisturbed") / "run")
    run.finish()
    assert [int(row["iter"]) for row in run.result()[1]] == [
        1,
        2,
        4,
        8,
        *sorted({*range(10, STEPS, 10), *range(35, STEPS, 35), STEPS}),
    ]
    return run


def test_sigkill_at_a_random_moment(undisturbed, tmp_path, capfd):
    run = Run(tmp_path / "run")
    process = run.start()
    run.wait_for_checkpoint(process)
    time.sleep(random.uniform(0, 0.15))
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not {"model.pt", "metrics.csv"} & run.files()
    run.finish()
    assert "continuing an interrupted run at step" in capfd.readouterr().err
    assert run.result() == undisturbed.result()
    assert run.files() == undisturbed.files() == {"train.npy", "valid.npy", "model.pt", "metrics.csv"}


def test_a_second_trainer_is_turned_away_and_sigterm_saves(undisturbed, tmp_path, capfd):
    run = Run(tmp_path / "run")
    first = run.start()
    run.wait_for_checkpoint(first)
    first.send_signal(signal.SIGSTOP)  # holds the lock for as long as the second one tries
    with pytest.raises(SystemExit) as stop:
        run.finish()
    errors = capfd.readouterr().err
    first.send_signal(signal.SIGTERM)
    first.send_signal(signal.SIGCONT)
    output, _ = first.communicate(timeout=30)
    assert stop.value.code == 1
    assert "another trainer is using" in errors
    assert first.returncode == 143
    assert "the same command continues from here" in output
    assert "Traceback" not in errors + output
    run.finish()
    assert run.result() == undisturbed.result()


def test_ctrl_c_saves_and_says_how_to_go_on(undisturbed, tmp_path, monkeypatch, capfd):
    run = Run(tmp_path / "run")

    def train_step(trainer, original=Trainer.train_step):
        original(trainer)
        if trainer.step == 123:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", train_step)
        with pytest.raises(SystemExit) as stop:
            run.finish()
    assert stop.value.code == 130
    assert "the same command continues from here" in capfd.readouterr().err
    assert load_tensors(run.state / "checkpoint.pt")["iteration"] == 123
    run.finish()
    assert run.result() == undisturbed.result()


@pytest.mark.slow
def test_twenty_interruptions_at_random_steps(tmp_path, capsys):
    """SIGKILL, SIGTERM and SIGINT in turn, at random moments of one long run; some of them hit a save."""
    long = ["--total_tokens", str(6_000 * 64), "--save_interval", "25", "--eval_interval", "3000"]
    whole, run = Run(tmp_path / "whole"), Run(tmp_path / "run")
    whole.finish(*long)
    moments, last, seen = random.Random(0), 0.0, []
    for number in range(20):
        process = run.start(*long)
        last = run.wait_for_checkpoint(process, last)
        time.sleep(moments.uniform(0, 0.4))
        kind = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[number % 3]
        process.send_signal(kind)
        process.communicate(timeout=30)
        assert process.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[kind]
        in_a_save = any(path.suffix == ".tmp" for path in run.state.iterdir())
        state = load_tensors(run.state / "checkpoint.pt")  # always a whole one
        last = (run.state / "checkpoint.pt").stat().st_mtime
        seen.append(f"{kind.name} saved step {state['iteration']}{' (in a save)' if in_a_save else ''}")
    run.finish(*long)
    assert run.result() == whole.result()
    with capsys.disabled():
        print("\n" + "\n".join(seen))
