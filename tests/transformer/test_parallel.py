"""Two processes train what one does; the first alone writes and speaks; states pass from N processes to M."""

import csv
import os
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from minlm.errors import MinlmError
from minlm.transformer.checkpoint import load_model, load_tensors
from minlm.transformer.parallel import Processes, _place, first_host
from minlm.transformer.run_state import RunState
from minlm.transformer.trainer import Trainer

FLAGS = shlex.split(
    "--vocab_size 16 --context_length 8 --d_model 16 --num_layers 1 --num_heads 2 --d_ff 24 --batch_size 8 "
    "--lr_max 1e-2 --lr_min 1e-3 --warmup_iters 4 --dtype float32 --device cpu --eval_interval 100 "
    "--train_tokens train.npy --val_tokens valid.npy --checkpoint_path model.pt --log_csv metrics.csv "
    "--log_file train.log --threads 2"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("train.npy", (np.arange(900) * 5 % 13).astype(np.uint16))
    np.save("valid.npy", (np.arange(70) * 5 % 13).astype(np.uint16))
    return tmp_path


def start(processes: int, *more: str) -> subprocess.Popen:
    program = ["-m", "minlm.scripts.train", *FLAGS, *more]
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.Popen(
        [sys.executable, *(several if processes > 1 else []), *program],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def losses() -> list[float]:
    with open("metrics.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    return [float(row[name]) for row in rows for name in ("train_loss", "val_loss", "grad_norm")]


def test_two_processes_train_what_one_does(folder):
    once = ["--total_tokens", str(200 * 64), "--save_interval", "1000"]
    finish(start(1, *once))
    expected, weights = losses(), load_model("model.pt")[0].state_dict()
    output = finish(start(2, *once, "--grad_accum_steps", "2"))
    assert losses() == pytest.approx(expected, rel=2e-3)
    for name, tensor in load_model("model.pt")[0].state_dict().items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-2, atol=1e-3)
    # The first process alone speaks and writes.
    assert output.count("wrote model.pt") == output.count("on 2 × cpu, 1 threads") == 1
    assert (folder / "train.log").read_text().count("wrote model.pt") == 1
    assert {path.name for path in folder.iterdir()} == {
        "train.npy", "valid.npy", "model.pt", "metrics.csv", "train.log"
    }  # fmt: skip


def test_from_one_process_to_two_and_back(folder):
    """A run of one process is stopped, goes on in two, is stopped, and ends in one."""
    flags = ["--total_tokens", str(1000 * 64), "--save_interval", "50"]
    finish(start(1, *flags))
    expected = losses()
    (folder / "model.pt").unlink()
    checkpoint, last = folder / ".model.pt.in_progress/checkpoint.pt", 0
    for processes in (1, 2):
        process, end = start(processes, *flags), time.monotonic() + 60
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == last:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        assert output.count("the same command goes on from here") == 1
        assert process.returncode != 0
        last = checkpoint.stat().st_mtime_ns
    before = load_tensors(checkpoint)["iteration"]
    assert f"continuing an interrupted run at step {before:,}" in finish(start(1, *flags))
    assert losses() == pytest.approx(expected, rel=1e-2, abs=1e-3)


def test_the_error_of_the_first_process_ends_all_and_is_told_once(folder):
    with RunState(".model.pt.in_progress", "another run"):
        output, _ = (process := start(2, "--total_tokens", "6400")).communicate(timeout=60)
    assert process.returncode != 0
    assert output.count("another trainer is at work") == 1


def test_a_batch_that_cannot_be_shared():
    model = {"vocab_size": 16, "context_length": 8, "d_model": 16, "num_layers": 1, "num_heads": 2, "d_ff": 24}
    from minlm.transformer.settings import TrainingSettings

    settings = TrainingSettings(
        batch_size=4, total_tokens=320, lr_max=1e-3, lr_min=1e-4, warmup_iters=1, weight_decay=0.1, max_grad_norm=1.0,
        grad_accum_steps=2,
    )  # fmt: skip
    tokens = np.zeros(100, dtype=np.uint16)
    with pytest.raises(MinlmError, match="--batch_size 4 does not divide into 3 processes × 2 grad_accum_steps"):
        Trainer(model, settings, tokens, tokens, None, torch.device("cpu"), processes=Processes(1, 3))


def test_who_am_i(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    assert _place({}) is None
    assert _place({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}) is None
    assert _place({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}) == (5, 8, 1)
    assert _place({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) is None  # within a batch script, not under srun
    srun = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "71234"}
    assert _place({**srun, "SLURM_STEP_NODELIST": "gpu[07-08]"}) == (3, 4, 1)
    assert os.environ == {"MASTER_ADDR": "gpu07", "MASTER_PORT": "29734"}


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node1", "node1"), ("a,b", "a"), ("node[03-05,07],other1", "node03"), ("n-1-[2,4]", "n-1-2"),
        ("x1.cluster.org,x2", "x1.cluster.org"),
    ],
)  # fmt: skip
def test_the_first_host_of_a_slurm_list(nodes, first):
    assert first_host(nodes) == first
