"""The training loop: it learns, it repeats itself bit for bit, also across interruptions, and it stops when spoiled."""

import csv
import math
import os
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minlm.errors import MinlmError
from minlm.files import sha256
from minlm.transformer import AdamW, TransformerLM, cross_entropy_loss, get_lr_cosine_schedule, gradient_clipping
from minlm.transformer.batching import batch_at, open_tokens
from minlm.transformer.checkpoint import load_model, load_tensors, save_tensors
from minlm.transformer.evaluation import validation_loss
from minlm.transformer.metrics import TIMING
from minlm.transformer.model import LanguageModelLoss
from minlm.transformer.run_state import RunState, run_fingerprint
from minlm.transformer.settings import TrainingSettings
from minlm.transformer.stop_signals import Interrupted, StopSignals
from minlm.transformer.trainer import Trainer
from minlm.transformer.training import train

MODEL = {"vocab_size": 16, "context_length": 8, "d_model": 16, "num_layers": 1, "num_heads": 2, "d_ff": 24}
TOKENIZER = SimpleNamespace(
    vocab={i: b"x" * (1 + i % 3) for i in range(13)} | {13: b"<|endoftext|>"},
    special_tokens=["<|endoftext|>"], fingerprint="a fingerprint",
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_settings(**changes) -> TrainingSettings:
    values = {
        "batch_size": 4, "total_tokens": 40 * 32 + 5, "lr_max": 1e-2, "lr_min": 1e-3, "warmup_iters": 4,
        "weight_decay": 0.1, "max_grad_norm": 1.0, "dtype": "float32", "eval_interval": 15, "save_interval": 10,
    }  # fmt: skip
    return TrainingSettings(**(values | changes))


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "train.npy", (np.arange(900) * 5 % 13).astype(np.uint16))
    np.save(tmp_path / "valid.npy", (np.arange(70) * 5 % 13).astype(np.uint16))
    return tmp_path


def run(folder, name="model.pt", model=MODEL, settings=None, **more):
    more = {"log_csv": folder / f"{name}.csv"} | more
    return train(
        model, settings or make_settings(), [folder / "train.npy"], [folder / "valid.npy"], folder / name, **more
    )


def result(folder, name):
    with open(folder / f"{name}.csv", newline="") as handle:
        rows = [{k: v for k, v in row.items() if k not in TIMING} for row in csv.DictReader(handle)]
    return sha256(folder / name), rows


def stop_after(monkeypatch, step: int, stop: Exception | None = None):
    """Break off right behind a step, as a signal does."""
    original = Trainer.train_step

    def train_step(self):
        original(self)
        if self.step == step:
            monkeypatch.setattr(Trainer, "train_step", original)
            raise stop or Interrupted(signal.SIGTERM)

    monkeypatch.setattr(Trainer, "train_step", train_step)


def test_it_learns_and_the_rows_say_what_happened(folder):
    rows = run(folder, tokenizer=TOKENIZER)
    assert [row["iter"] for row in rows] == [15, 30, 40]
    assert [row["tokens_seen"] for row in rows] == [15 * 32, 30 * 32, 40 * 32]
    assert rows[-1]["val_loss"] < 1.5 < math.log(16) < rows[0]["train_loss"] + 1
    model, info = load_model(folder / "model.pt")
    assert info["iteration"] == 40
    assert info["tokenizer"] == "a fingerprint"
    assert info["training"] == make_settings().stated()
    valid = np.load(folder / "valid.npy")
    loss = validation_loss(model, valid, 8, batch_size=1)
    assert rows[-1]["val_loss"] == pytest.approx(loss, rel=1e-6)
    num_bytes = sum(1 + token % 3 for token in valid[1:].tolist())
    assert rows[-1]["val_bits_per_byte"] == pytest.approx(loss * 69 / math.log(2) / num_bytes, rel=1e-6)
    assert all(row["elapsed_s"] >= 0 and row["tokens_per_s"] > 0 and row["grad_norm"] > 0 for row in rows)


def test_the_loop_is_the_textbook_loop(folder):
    """The same weights as a plain loop with torch's own clipping around the library's parts."""
    run(folder)
    torch.manual_seed(0)
    model = TransformerLM(**MODEL)
    optimizer = AdamW(model.parameters(), betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    tokens = open_tokens(folder / "train.npy", 16, 8)
    for step in range(40):
        optimizer.param_groups[0]["lr"] = get_lr_cosine_schedule(step, 1e-2, 1e-3, 4, 40)
        inputs, targets = batch_at(tokens, 4, 8, "cpu", 0, step)
        optimizer.zero_grad()
        cross_entropy_loss(model(inputs), targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    for name, tensor in load_model(folder / "model.pt")[0].state_dict().items():
        torch.testing.assert_close(tensor, model.state_dict()[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "interruptions"),
    [
        ({}, [(1,), (15,), (17, 31), (39,), (40,)]),
        ({"dtype": "bfloat16"}, [(17,)]),
        ({"gradient_checkpointing": True, "grad_accum_steps": 2}, [(17,)]),
    ],
)
def test_interrupted_anywhere_it_gives_the_same_bytes(folder, monkeypatch, changes, interruptions):
    settings = make_settings(**changes)
    run(folder, "whole.pt", settings=settings)
    for steps in interruptions:
        for step in steps:
            stop_after(monkeypatch, step)
            with pytest.raises(Interrupted):
                run(folder, "broken.pt", settings=settings)
            assert not (folder / "broken.pt").exists()
        run(folder, "broken.pt", settings=settings)
        assert result(folder, "broken.pt") == result(folder, "whole.pt"), steps
        (folder / "broken.pt").unlink()
    assert not list(folder.glob(".*"))


def test_a_crash_goes_back_to_the_last_saved_state(folder, monkeypatch, caplog):
    run(folder, "whole.pt")
    stop_after(monkeypatch, 27, RuntimeError("power cut"))
    with pytest.raises(RuntimeError):
        run(folder, "broken.pt")
    saved = load_tensors(folder / ".broken.pt.in_progress/checkpoint.pt")
    assert saved["iteration"] == 20
    assert (folder / ".broken.pt.in_progress/metrics.csv").read_text().count("\n") == 2
    with caplog.at_level("INFO", logger="minlm"):
        run(folder, "broken.pt")
    assert "continuing an interrupted run at step 20" in caplog.text
    assert result(folder, "broken.pt") == result(folder, "whole.pt")


def test_training_goes_on_while_the_state_is_written(folder, monkeypatch):
    """The written state is that of the moment of saving, whatever happens to the weights meanwhile."""
    started, go_on = threading.Event(), threading.Event()

    def slowly(path, contents):
        started.set()
        assert go_on.wait(60)
        save_tensors(path, contents)

    monkeypatch.setattr("minlm.transformer.run_state.save_tensors", slowly)
    original, seen = Trainer.train_step, []

    def train_step(self):
        original(self)
        if self.step == 11:  # one step behind the save
            assert started.wait(60)
            assert not self.state.checkpoint.exists()
            seen.append(self.step)
            go_on.set()
            self.state.wait()
            assert load_tensors(self.state.checkpoint)["iteration"] == 10
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", train_step)
        with pytest.raises(RuntimeError, match="power cut"):
            run(folder, "broken.pt")
    assert seen == [11]
    run(folder, "broken.pt")
    run(folder, "whole.pt")
    assert result(folder, "broken.pt") == result(folder, "whole.pt")


def test_a_disk_that_fills_up_stops_the_run_and_keeps_the_last_state(folder, monkeypatch):
    calls = 0

    def full(path, contents):
        nonlocal calls
        calls += 1
        if calls == 2:
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left")))
                save_tensors(path, contents)
        save_tensors(path, contents)

    monkeypatch.setattr("minlm.transformer.run_state.save_tensors", full)
    with pytest.raises(MinlmError, match=r"cannot write .*checkpoint\.pt: No space left"):
        run(folder, "broken.pt")
    assert load_tensors(folder / ".broken.pt.in_progress/checkpoint.pt")["iteration"] == 10
    run(folder, "broken.pt")
    run(folder, "whole.pt")
    assert result(folder, "broken.pt") == result(folder, "whole.pt")


def test_a_signal_breaks_off_the_validation(folder, monkeypatch):
    run(folder, "whole.pt")

    def slow_validation(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the validation went on")

    with monkeypatch.context() as patch:
        patch.setattr("minlm.transformer.trainer.validation_loss", slow_validation)
        with pytest.raises(Interrupted):
            run(folder, "broken.pt")
    assert load_tensors(folder / ".broken.pt.in_progress/checkpoint.pt")["iteration"] == 15
    rows = run(folder, "broken.pt")
    assert all(row["tokens_per_s"] > 0 for row in rows)  # also where training was already at the row
    assert result(folder, "broken.pt") == result(folder, "whole.pt")


def test_the_second_ctrl_c_stops_at_once():
    handler = signal.getsignal(signal.SIGINT)
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_run_with_other_settings_starts_fresh_and_says_so(folder, monkeypatch, caplog):
    stop_after(monkeypatch, 17)
    with pytest.raises(Interrupted):
        run(folder, settings=make_settings(seed=1))
    with caplog.at_level("INFO", logger="minlm"):
        run(folder)
    assert "starting fresh: " in caplog.text
    assert "other tokens or settings" in caplog.text
    run(folder, "whole.pt")
    assert result(folder, "model.pt") == result(folder, "whole.pt")


def test_another_save_interval_continues_the_same_run(folder, monkeypatch):
    run(folder, "whole.pt")
    stop_after(monkeypatch, 17)
    with pytest.raises(Interrupted):
        run(folder)
    run(folder, settings=make_settings(save_interval=7))
    assert result(folder, "model.pt") == result(folder, "whole.pt")


def test_a_damaged_state_starts_fresh_and_says_so(folder, monkeypatch, caplog):
    stop_after(monkeypatch, 17)
    with pytest.raises(Interrupted):
        run(folder)
    path = folder / ".model.pt.in_progress/checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-1000])
    with caplog.at_level("INFO", logger="minlm"):
        run(folder)
    assert "checkpoint.pt is damaged" in caplog.text
    run(folder, "whole.pt")
    assert result(folder, "model.pt") == result(folder, "whole.pt")


def test_resume_takes_the_given_state_and_no_other(folder, monkeypatch):
    run(folder, "whole.pt")
    stop_after(monkeypatch, 17)
    with pytest.raises(Interrupted):
        run(folder, "first.pt")
    state = folder / ".first.pt.in_progress/checkpoint.pt"
    run(folder, "second.pt", resume=state)
    assert result(folder, "second.pt") == result(folder, "whole.pt")
    with pytest.raises(MinlmError, match="other tokens or settings"):
        run(folder, "third.pt", settings=make_settings(seed=1), resume=state)
    with pytest.raises(MinlmError, match="there is no such checkpoint"):
        run(folder, "third.pt", resume=folder / "nothing.pt")
    assert not (folder / ".third.pt.in_progress").exists()


def test_resume_takes_a_folder_too(folder, monkeypatch):
    stop_after(monkeypatch, 17)
    with pytest.raises(Interrupted):
        run(folder, "first.pt")
    run(folder, "second.pt", resume=folder / ".first.pt.in_progress")
    run(folder, "whole.pt")
    assert result(folder, "second.pt") == result(folder, "whole.pt")


@pytest.mark.parametrize("resume", [None, "nothing.pt"])  # a run that succeeds, one that fails at once
@pytest.mark.parametrize("name", ["thesis.txt", "checkpoint.pt", "metrics.csv", "deep/thesis.txt"])
def test_a_state_dir_with_the_files_of_others_is_refused_and_kept(folder, name, resume):
    theirs = folder / "mine" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("years of work")
    with pytest.raises(MinlmError, match=r"mine/ is no state of a run: it holds"):
        run(folder, state_dir=folder / "mine", resume=resume)
    assert theirs.read_text() == "years of work"
    assert [path for path in (folder / "mine").rglob("*") if path.is_file()] == [theirs]


@pytest.mark.parametrize("resume", [None, "nothing.pt"])
def test_what_others_put_into_the_state_dir_meanwhile_stays(folder, monkeypatch, resume):
    (folder / "mine").mkdir()
    original = RunState.load

    def load(self):
        (folder / "mine/notes.txt").write_text("years of work")
        (folder / "mine/.metrics.csv.123.tmp").touch()  # of a killed process of ours
        return original(self) if resume is None else self.read(resume)

    monkeypatch.setattr(RunState, "load", load)
    if resume is None:
        run(folder, state_dir=folder / "mine")
    else:
        with pytest.raises(MinlmError, match="no such checkpoint"):
            run(folder, state_dir=folder / "mine")
    assert [path.name for path in (folder / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("output", ["log_csv", "plot_dir", "checkpoint_path"])
def test_no_output_in_the_folder_that_is_removed(folder, output):
    inside = folder / "results/metrics.csv"
    given = (
        {"log_csv": None, "checkpoint_path": "results/metrics.csv"} if output == "checkpoint_path" else {output: inside}
    )
    name = given.pop("checkpoint_path", "model.pt")
    with pytest.raises(MinlmError, match=r"metrics\.csv.* lies in .*results/"):
        run(folder, name, state_dir=folder / "results", **given)
    assert not (folder / "results").exists()


def test_a_trainer_that_ends_leaves_the_folder_of_the_next_one(folder):
    with RunState(folder / "state", "x") as first:
        first.finish()
    with RunState(folder / "state", "x") as second:
        assert second.lock.exists()
        with pytest.raises(MinlmError, match="another trainer"), RunState(folder / "state", "x"):
            pass
        assert second.lock.exists()
    assert not (folder / "state").exists()


def test_the_fingerprint_knows_contents_and_not_names(folder):
    def fingerprint(train, valid, **settings):
        return run_fingerprint([folder / name for name in train], [folder / name for name in valid], settings)

    (folder / "copy.npy").write_bytes((folder / "train.npy").read_bytes())
    known = fingerprint(["train.npy"], ["valid.npy"], seed=0)
    assert known == fingerprint(["copy.npy"], ["valid.npy"], seed=0)
    others = [
        fingerprint(["train.npy"], ["valid.npy"], seed=1),
        fingerprint(["valid.npy"], ["train.npy"], seed=0),
        fingerprint(["train.npy", "train.npy"], ["valid.npy"], seed=0),
        fingerprint(["train.npy"], ["train.npy", "valid.npy"], seed=0),
    ]
    assert len({known, *others}) == 5


def test_one_trainer_at_a_time(folder):
    with RunState(folder / "state", "x") as state, pytest.raises(MinlmError, match="another trainer is at work"):  # noqa: SIM117
        with RunState(folder / "state", "x"):
            pass
    assert not state.folder.exists()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_spoiled_run_stops_with_the_step_and_keeps_the_last_good_state(folder, monkeypatch, bad, where):
    calls = 0

    def spoiled(*arguments):
        nonlocal calls
        calls += 1
        value = original(*arguments)
        return value * bad if calls == 23 else value

    if where == "loss":
        original = LanguageModelLoss.forward
        monkeypatch.setattr(LanguageModelLoss, "forward", spoiled)
    else:
        original = gradient_clipping
        monkeypatch.setattr("minlm.transformer.trainer.gradient_clipping", spoiled)
    with pytest.raises(MinlmError, match=r"at step 23\. The last good state is .*checkpoint\.pt.*lower lr_max"):
        run(folder)
    assert load_tensors(folder / ".model.pt.in_progress/checkpoint.pt")["iteration"] == 20
    assert not (folder / "model.pt").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"total_tokens": 31}, "less than one batch of 4 × 8 = 32"),
        ({"warmup_iters": 41}, "--warmup_iters 41 is longer than the run of 40 steps"),
        ({"batch_size": 0}, "--batch_size must be at least 1"),
        ({"grad_accum_steps": 0}, "--grad_accum_steps must be at least 1"),
        ({"grad_accum_steps": 3}, "--batch_size 4 does not divide into --grad_accum_steps 3"),
        ({"compile": "maybe"}, "compile maybe: choose auto, on or off"),
        ({"eval_interval": 0}, "--eval_interval must be at least 1"),
        ({"lr_max": math.nan}, "--lr_max must be a number above 0"),
        ({"beta2": 1.0}, "--beta2 must be at least 0 and below 1"),
        ({"seed": -1}, "--seed must be a number of at least 0"),
        ({"lr_min": math.inf}, "--lr_min must be a number of at least 0, not inf"),
        ({"weight_decay": math.inf}, "--weight_decay must be a number of at least 0, not inf"),
        ({"dtype": "float8"}, "choose auto, float32 or bfloat16"),
    ],
)
def test_settings_that_make_no_sense(folder, changes, message):
    with pytest.raises(MinlmError, match=message):
        run(folder, settings=make_settings(**changes))
    assert {path.name for path in folder.iterdir()} == {"train.npy", "valid.npy"}


def test_a_tokenizer_that_does_not_fit(folder):
    with pytest.raises(MinlmError, match="ids up to 13, which do not fit --vocab_size 13"):
        run(folder, model=MODEL | {"vocab_size": 13}, tokenizer=TOKENIZER)


@pytest.mark.parametrize("output", ["log_csv", "state_dir", "plot_dir"])
def test_outputs_that_cannot_be_written_are_found_before_training(folder, output, monkeypatch):
    monkeypatch.setattr(Trainer, "run", lambda self: pytest.fail("training began"))
    with pytest.raises((MinlmError, OSError)) as error:
        run(folder, **{output: folder / "train.npy/below"})
    assert "train.npy" in str(error.value)


def test_a_full_disk_keeps_the_last_good_state(folder, monkeypatch):
    run(folder, "whole.pt")
    original = torch.save

    def full(contents, handle):
        if contents.get("iteration") == 20:
            handle.write(b"half of it")
            raise OSError(28, "No space left on device")
        original(contents, handle)

    with monkeypatch.context() as patch:
        patch.setattr("torch.save", full)
        with pytest.raises(MinlmError, match=r"cannot write .*checkpoint\.pt: No space left on device"):
            run(folder)
    state = folder / ".model.pt.in_progress"
    assert load_tensors(state / "checkpoint.pt")["iteration"] == 10
    assert {path.name for path in state.iterdir()} == {"checkpoint.pt", "metrics.csv", "lock"}
    run(folder)
    assert result(folder, "model.pt") == result(folder, "whole.pt")
