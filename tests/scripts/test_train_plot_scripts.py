"""nlm-train and the plot program at the command line."""

import csv
import math
import os
import re
import resource
import shlex

import numpy as np
import pytest
import torch

from minlm.scripts import plot, train
from minlm.tokenization import BPETokenizer
from minlm.transformer.checkpoint import load_model

TINY = shlex.split(
    "--vocab_size 300 --context_length 8 --d_model 16 --num_layers 1 --num_heads 2 --d_ff 24 --batch_size 4 "
    "--total_tokens 640 --warmup_iters 4 --lr_max 1e-2 --eval_interval 10 --device cpu --threads 1"
)


@pytest.fixture(autouse=True)
def quiet():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tokenizer = BPETokenizer({i: bytes([i]) for i in range(256)} | {256: b"<|endoftext|>"}, [], ["<|endoftext|>"])
    tokenizer.save("vocab.json", "merges.txt")
    ids = tokenizer.encode("the cat sat on the mat.<|endoftext|>" * 20)
    np.save("train.npy", np.array(ids, np.uint16))
    np.save("valid.npy", np.array(ids[:90], np.uint16))
    return tmp_path


def run(*flags: str, program=train, status: int = 0) -> None:
    inputs = ["--train_tokens", "train.npy", "--val_tokens", "valid.npy", *TINY] if program is train else []
    if status:
        with pytest.raises(SystemExit) as stop:
            program.main([*inputs, *flags])
        assert stop.value.code == status
    else:
        program.main([*inputs, *flags])


def test_the_defaults_are_the_reference_run():
    values = vars(train.build_parser().parse_args(["--train_tokens", "a", "--val_tokens", "b"]))
    expected = {
        "vocab_size": 10000, "context_length": 256, "d_model": 512, "num_layers": 4, "num_heads": 16, "d_ff": 1344,
        "rope_theta": 10000.0, "flash_attention": True, "disable_rmsnorm": False, "post_norm": False,
        "no_rope": False, "silu_ffn": False, "batch_size": 64, "total_tokens": 163_840_000, "lr_max": 3e-4,
        "lr_min": 3e-5, "warmup_iters": 1000, "weight_decay": 0.1, "max_grad_norm": 1.0, "checkpoint_path": "model.pt",
        "resume": None, "device": None, "log_to_wandb": False, "log_csv": None, "plot_dir": None, "seed": 0,
        "gradient_checkpointing": False, "eval_interval": 500, "save_interval": 500,
    }  # fmt: skip
    assert {name: values[name] for name in expected} == expected


def test_one_run_with_all_its_outputs(folder, capfd):
    tokenizer = ["--vocab_path", "vocab.json", "--merges_path", "merges.txt"]
    run(*tokenizer, "--checkpoint_path", "out/model.pt", "--log_csv", "out/metrics.csv", "--plot_dir", "out/plots")
    printed = capfd.readouterr().err.splitlines()
    assert re.match(
        r"train: [\d,]+ parameters, 20 steps of 4 × 8 = 640 tokens on cpu, 1 thread; \w+, not compiled", printed[1]
    )
    assert re.match(r"memory: about 0\.5 GB of \d+\.\d GB$", printed[0])
    before = re.match(r"before training: validation loss (\S+) \(guessing among (\d+) tokens: (\S+)\)$", printed[2])
    assert float(before[3]) == pytest.approx(math.log(int(before[2])), abs=1e-3)
    assert abs(float(before[1]) - float(before[3])) < 2
    assert re.match(
        r"wrote out/model.pt: 20 steps, validation loss \S+ nats/token, \S+ bits/byte, [\d.]+ s", printed[-1]
    )
    with open("out/metrics.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["iter"] for row in rows] == ["1", "2", "4", "8", "10", "20"]
    assert [row["val_loss"] != "" for row in rows] == [False] * 4 + [True] * 2
    text_tokens = sum(token != 256 for token in np.load("valid.npy")[1:])  # one byte each
    bits = float(rows[-1]["val_loss"]) * 89 / math.log(2) / text_tokens
    assert float(rows[-1]["val_bits_per_byte"]) == pytest.approx(bits)
    _, info = load_model("out/model.pt")
    assert info["tokenizer"] == BPETokenizer.from_files("vocab.json", "merges.txt").fingerprint
    first = {path.name: path.read_bytes() for path in (folder / "out/plots").iterdir()}
    assert set(first) == {"loss_vs_iter.png", "loss_vs_time.png", "speed_vs_iter.png"}
    run("--metrics", "out/metrics.csv", "--output_dir", "out/again", program=plot)
    assert {path.name: path.read_bytes() for path in (folder / "out/again").iterdir()} == first
    assert "out/again/speed_vs_iter.png" in capfd.readouterr().err
    assert {path.name for path in (folder / "out").iterdir()} == {"model.pt", "metrics.csv", "plots", "again"}


def test_every_ablation_and_choice_reaches_the_model(folder):
    switches = ["--disable_rmsnorm", "--post_norm", "--no_rope", "--silu_ffn", "--flash_attention"]
    run(*switches, "--rope_theta", "500", "--embedding_std", "0.02", "--beta1", "0.8", "--eps", "1e-9")
    model, info = load_model("model.pt")
    assert all(model.config[switch.removeprefix("--")] is True for switch in switches)
    assert (model.config["rope_theta"], model.config["embedding_std"]) == (500.0, 0.02)
    assert (info["training"]["beta1"], info["training"]["eps"]) == (0.8, 1e-9)
    assert info["tokenizer"] is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--train_tokens", "nothing.npy"], "nothing.npy: there is no such file"),
        (["--val_tokens", "empty.npy"], "empty.npy is not a complete .npy file"),
        (["--train_tokens", "cut.npy"], "cut.npy is not a complete .npy file"),
        (["--train_tokens", "float.npy"], "must be one-dimensional"),
        (["--vocab_size", "200"], "token id 256 at position 23 does not fit vocab_size 200"),
        (
            ["--context_length", "800", "--batch_size", "1", "--total_tokens", "8000"],
            "480 tokens are too few for a context of 800",
        ),
        (["--num_heads", "5"], "must be divisible by num_heads"),
        (["--total_tokens", "31"], "less than one batch"),
        (["--warmup_iters", "21"], "longer than the run"),
        (["--vocab_path", "vocab.json"], "belong together"),
        (["--vocab_path", "vocab.json", "--merges_path", "nothing.txt"], "nothing.txt"),
        (["--device", "tpu"], "no such device"),
        (["--device", "cuda:99"], "this machine has none"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--resume", "nothing.pt"], "nothing.pt: there is no such checkpoint"),
        (["--resume", "train.npy"], "train.npy is not a checkpoint"),
        (["--checkpoint_path", "train.npy/model.pt"], "cannot write train.npy/model.pt"),
        (["--log_csv", "train.npy/metrics.csv"], "cannot write train.npy/metrics.csv"),
        (["--plot_dir", "train.npy"], "cannot write train.npy/loss_vs_iter.png"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(folder, capfd, flags, message):
    (folder / "empty.npy").touch()
    (folder / "cut.npy").write_bytes((folder / "train.npy").read_bytes()[:-100])
    np.save("float.npy", np.zeros(100))
    before = {path.name for path in folder.iterdir()}
    run(*flags, status=1)
    printed = capfd.readouterr().err.strip()
    assert "\n" not in printed
    assert printed.startswith("nlm-train: error: ")
    assert message in printed
    assert {path.name for path in folder.iterdir()} == before


def test_the_plot_program_refuses_a_foreign_file(folder, capfd):
    (folder / "x.csv").write_text("a,b\n1,2\n")
    run("--metrics", "x.csv", "--output_dir", "plots", program=plot, status=1)
    assert "x.csv lacks the column(s) iter" in capfd.readouterr().err
    assert not (folder / "plots").exists()


def test_wandb_offline(folder, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(folder))
    monkeypatch.setenv("WANDB_SILENT", "true")
    import wandb

    logged, original = [], wandb.Run.log

    def log_row(run, values, **more):
        logged.append((values, dict(run.config)))
        original(run, values, **more)

    monkeypatch.setattr(wandb.Run, "log", log_row)
    monkeypatch.setenv("WANDB_PROJECT", "")  # restored after the test
    monkeypatch.setenv("WANDB_NAME", "")
    run("--log_to_wandb", "--log_to", "csv", "wandb", "--wandb_project", "tries", "--wandb_run_name", "first")
    assert (os.environ["WANDB_PROJECT"], os.environ["WANDB_NAME"]) == ("tries", "first")
    assert wandb.run is None  # finished
    assert [values["iter"] for values, _ in logged] == [1, 2, 4, 8, 10, 20]
    assert all(values["tokens_seen"] == 32 * values["iter"] for values, _ in logged)
    assert all(0 < values["val_loss"] < 6 for values, _ in logged[-2:])
    assert (logged[0][1]["d_model"], logged[0][1]["total_tokens"]) == (16, 640)
    assert len(list(folder.glob("wandb/offline-run-*/*.wandb"))) == 1


def test_wandb_missing_is_said_before_anything_else(folder, capfd, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    run("--log_to_wandb", "--train_tokens", "nothing.npy", status=1)
    assert "pip install 'minlm[viz]'" in capfd.readouterr().err


@pytest.mark.parametrize("program", [train, plot])
def test_help_shows_an_example(program, capsys):
    with pytest.raises(SystemExit) as stop:
        program.main(["--help"])
    assert stop.value.code == 0
    assert "example:" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [[], ["--save_interval", "2"]])
def test_a_disk_that_runs_full_while_saving(folder, capfd, flags):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, before[1]))  # a write past it fails, like one on a full disk
    try:
        run("--d_model", "32", *flags, status=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    printed = capfd.readouterr().err
    assert "Traceback" not in printed
    assert "File too large" in printed.splitlines()[-1]
    assert not (folder / "model.pt").exists()
    assert [path.name for path in folder.rglob(".*") if path.name.endswith((".tmp", ".in_progress"))] == []


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--rope_theta", "0"], 2, "--rope_theta: must be a number ≥ 1 and ≤ 1e+12, not '0'"),
        (["--max_grad_norm", "0"], 2, "--max_grad_norm: must be a number ≥ 1e-06 and ≤ 1e+30, not '0'"),
        (["--lr_max", "nan"], 2, "--lr_max: must be a number ≥ 1e-12 and ≤ 100, not 'nan'"),
        (["--state_dir", "train.npy"], 1, "cannot save the state of the run in train.npy/"),
    ],
)
def test_values_that_cannot_work(folder, capfd, flags, status, message):
    run(*flags, status=status)
    error = capfd.readouterr().err
    assert message in "".join(error.splitlines()[-2:])
    assert "Traceback" not in error
