"""Two processes train what one trains; only the first writes and logs; a state may pass from N processes to M."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from minlm.errors import MinlmError
from minlm.scripts import evaluate, train
from minlm.tokenization import BPETokenizer
from minlm.training.processes import Processes, _place, first_host, joined_processes
from minlm.training.settings import TrainingSettings
from minlm.training.state import RunState
from minlm.training.trainer import Trainer
from minlm.transformer.checkpoint import load_model

FLAGS = shlex.split(
    "--vocab_size 16 --context_length 8 --d_model 16 --num_layers 1 --num_heads 2 --d_ff 24 --batch_size 8 "
    "--lr_max 1e-2 --lr_min 1e-3 --warmup_iters 4 --total_tokens 2560 --dtype float32 --device cpu --eval_interval 20 "
    "--train_tokens train.npy --val_tokens valid.npy --checkpoint_path model.pt --log_csv metrics.csv --threads 1"
)  # 40 steps

# nlm-train that is stopped after a step by a signal to only one of its processes
STOPPING = """
import os, signal, sys
from minlm.scripts import train
from minlm.training.trainer import Trainer

def train_step(self, original=Trainer.train_step):
    original(self)
    if self.step == 27 and self.processes.rank == 1:
        os.kill(os.getpid(), signal.SIGTERM)

Trainer.train_step = train_step
train.main(sys.argv[1:])
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("train.npy", (np.arange(900) * 5 % 13).astype(np.uint16))
    np.save("valid.npy", (np.arange(70) * 5 % 13).astype(np.uint16))
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def two_processes(*command: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*launcher, *command], env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, timeout=120,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def losses() -> list[float]:
    with open("metrics.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["iter"] for row in rows] == ["1", "2", "4", "8", "10", "20", "30", "40"]
    return [float(row[name]) for row in rows if row["val_loss"] for name in ("train_loss", "val_loss", "grad_norm")]


def test_two_processes_train_what_one_does(folder):
    """Only the first process writes and logs."""
    train.main(FLAGS)
    expected, weights = losses(), load_model("model.pt")[0].state_dict()
    flags = [*FLAGS, "--grad_accum_steps", "2", "--log_file", "train.log", "--threads", "2"]
    finished = two_processes("-m", "minlm.scripts.train", *flags)
    assert finished.returncode == 0, finished.stdout
    assert losses() == pytest.approx(expected, rel=1e-3)
    for name, tensor in load_model("model.pt")[0].state_dict().items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-3, atol=1e-4)
    assert finished.stdout.count("wrote model.pt") == finished.stdout.count("on 2 × cpu, 1 thread;") == 1
    assert (folder / "train.log").read_text().count("wrote model.pt") == 1
    assert {path.name for path in folder.iterdir()} == {
        "train.npy", "valid.npy", "model.pt", "metrics.csv", "train.log"
    }  # fmt: skip


def test_from_one_process_to_two_and_back(folder, monkeypatch, capfd):
    """A run of one process is stopped, continues in two, one of which gets a signal, and ends in one."""
    train.main(FLAGS)
    expected = losses()
    (folder / "model.pt").unlink()

    def stop_at_13(trainer, signals, original=Trainer.stop_together):
        if trainer.step == 13:
            os.kill(os.getpid(), signal.SIGTERM)
        original(trainer, signals)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "stop_together", stop_at_13)
        with pytest.raises(SystemExit):
            train.main(FLAGS)
    (folder / "stopping.py").write_text(STOPPING)
    stopped = two_processes("stopping.py", *FLAGS)
    assert stopped.returncode != 0
    assert "continuing an interrupted run at step 13" in stopped.stdout
    assert stopped.stdout.count("the same command continues from here") == 1
    train.main(FLAGS)
    assert "continuing an interrupted run at step 27" in capfd.readouterr().err
    assert losses() == pytest.approx(expected, rel=1e-3)


def test_an_error_of_the_first_process_ends_the_others(monkeypatch):
    answers = []
    monkeypatch.setattr("torch.distributed.broadcast_object_list", lambda answer, **_: answers.append(list(answer)))

    def work():
        raise MinlmError("another trainer is at work")

    with pytest.raises(MinlmError, match="another trainer"):
        Processes(0, 2).from_first(work)
    (answer,) = answers
    monkeypatch.setattr(
        "torch.distributed.broadcast_object_list", lambda given, **_: given.__setitem__(slice(None), answer)
    )
    with pytest.raises(SystemExit) as stop:
        Processes(1, 2).from_first(lambda: pytest.fail("only the first process works"))
    assert stop.value.code == 1


# nlm-train whose first process finds the disk full when it saves its state
FULL_DISK = """
import os, resource, sys
from minlm.scripts import train

if os.environ["RANK"] == "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
train.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_full_disk_ends_all_processes_and_the_next_call_continues(folder):
    (folder / "full.py").write_text(FULL_DISK)
    flags = [*FLAGS, "--save_interval", "10"]
    failed = two_processes("full.py", *flags)
    assert failed.returncode != 0
    assert failed.stdout.count("cannot write .model.pt.in_progress/checkpoint.pt: File too large") == 1
    assert "unexpected error" not in failed.stdout
    assert not (folder / "model.pt").exists()
    finished = two_processes("-m", "minlm.scripts.train", *flags)
    assert finished.returncode == 0, finished.stdout
    assert len(losses()) == 6


@pytest.mark.slow
def test_a_killed_process_ends_the_others(folder):
    (folder / "killed.py").write_text(STOPPING.replace("SIGTERM", "SIGKILL"))
    failed = two_processes("killed.py", *FLAGS)
    assert failed.returncode != 0
    assert "unexpected error" not in failed.stdout


@pytest.mark.slow
def test_two_processes_evaluate_what_one_does(folder):
    train.main([*FLAGS, "--vocab_size", "257"])
    Path("valid.txt").write_text("abcdef" * 100)
    BPETokenizer({i: bytes([i]) for i in range(256)}, []).save("vocab.json", "merges.txt")
    flags = shlex.split(
        "--checkpoint model.pt --tokens valid.npy --text valid.txt --vocab_path vocab.json --merges_path merges.txt "
        "--device cpu --batch_size 2 --threads 1"
    )
    evaluate.main([*flags, "--output", "one.json"])
    finished = two_processes("-m", "minlm.scripts.evaluate", *flags, "--output", "two.json")
    assert finished.returncode == 0, finished.stdout
    assert finished.stdout.count("wrote two.json") == 1
    one, two = (json.loads(Path(name).read_text()) for name in ("one.json", "two.json"))
    assert one.pop("baseline") == two.pop("baseline")
    assert two == pytest.approx(one, rel=1e-6)


@pytest.mark.slow
def test_the_error_of_the_first_process_ends_all_and_is_logged_once(folder):
    with RunState(".model.pt.in_progress", "another run"):
        failed = two_processes("-m", "minlm.scripts.train", *FLAGS)
    assert failed.returncode != 0
    assert failed.stdout.count("another trainer is using") == 1


def test_a_batch_that_cannot_be_shared():
    model = {"vocab_size": 16, "context_length": 8, "d_model": 16, "num_layers": 1, "num_heads": 2, "d_ff": 24}
    settings = TrainingSettings(
        batch_size=4, total_tokens=320, lr_max=1e-3, lr_min=1e-4, warmup_iters=1, weight_decay=0.1, max_grad_norm=1.0,
        grad_accum_steps=2,
    )  # fmt: skip
    tokens = np.zeros(100, dtype=np.uint16)
    with pytest.raises(MinlmError, match="--batch_size 4 does not divide into 3 processes × 2 grad_accum_steps"):
        Trainer(model, settings, tokens, tokens, None, torch.device("cpu"), processes=Processes(1, 3))


def test_processes_cannot_share_an_apple_gpu(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    with pytest.raises(MinlmError, match="several processes cannot train together on mps"), joined_processes("mps"):
        pass


def test_the_rank_of_this_process(monkeypatch):
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
