"""Training is reproducible bit for bit, also across interruptions, and keeps the last good state."""

import os
import re
import signal
import threading

import pytest
import torch
from small_runs import make_settings, result, run, stop_after

from minlm.errors import MinlmError
from minlm.training.signals import Interrupted, StopSignals
from minlm.training.state import RunState, run_fingerprint
from minlm.training.trainer import Trainer
from minlm.transformer.checkpoint import load_tensors, save_tensors


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
    assert (folder / ".broken.pt.in_progress/metrics.csv").read_text().count("\n") == 1 + 6
    with caplog.at_level("INFO", logger="minlm"):
        run(folder, "broken.pt")
    assert "continuing an interrupted run at step 20" in caplog.text
    assert result(folder, "broken.pt") == result(folder, "whole.pt")


def test_training_continues_while_the_state_is_written(folder, monkeypatch):
    """The written state is that at the call of `save`, although the weights have changed since."""
    started, go_on = threading.Event(), threading.Event()

    def slowly(path, contents):
        started.set()
        assert go_on.wait(60)
        save_tensors(path, contents)

    monkeypatch.setattr("minlm.training.state.save_tensors", slowly)
    original, seen = Trainer.train_step, []

    def train_step(self):
        original(self)
        if self.step == 11:  # one step after the save
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

    monkeypatch.setattr("minlm.training.state.save_tensors", full)
    with pytest.raises(MinlmError, match=r"cannot write .*checkpoint\.pt: No space left"):
        run(folder, "broken.pt")
    assert load_tensors(folder / ".broken.pt.in_progress/checkpoint.pt")["iteration"] == 10
    run(folder, "broken.pt")
    run(folder, "whole.pt")
    assert result(folder, "broken.pt") == result(folder, "whole.pt")


def test_a_signal_interrupts_the_validation(folder, monkeypatch):
    run(folder, "whole.pt")

    def slow_validation(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the validation went on")

    with monkeypatch.context() as patch:
        patch.setattr("minlm.training.trainer.validation_loss", slow_validation)
        with pytest.raises(Interrupted):
            run(folder, "broken.pt")
    assert load_tensors(folder / ".broken.pt.in_progress/checkpoint.pt")["iteration"] == 15
    rows = run(folder, "broken.pt")
    assert all(row["tokens_per_s"] > 0 for row in rows)  # also if the run was interrupted at a row
    assert result(folder, "broken.pt") == result(folder, "whole.pt")


def test_the_second_ctrl_c_stops_at_once():
    handler = signal.getsignal(signal.SIGINT)
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_stays_ignored_if_it_was_at_the_start():
    """As with `program &` in a script. SIGTERM still works. A fixture restores the handlers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        signals.check()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            signals.check()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_a_run_with_other_settings_starts_fresh_and_logs_it(folder, monkeypatch, caplog):
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


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def flip_in_the_directory(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 10] ^= 1  # how the first entry is compressed
    path.write_bytes(content)


def no_archive(path):
    path.write_bytes(b"\0" * 5000)


def another_kind(path):
    save_tensors(path, [1, 2])


def changed(**changes):
    """A state with the right fingerprint and checksums but other contents."""

    def change(path):
        state = load_tensors(path)
        save_tensors(path, {key: value for key, value in (state | changes).items() if value is not None})

    return change


DAMAGES = [
    cut, flip_in_the_directory, no_archive, another_kind, changed(iteration=None), changed(iteration="x"),
    changed(iteration=10**9), changed(rows=None), changed(rows=[{}]), changed(rows=3), changed(loss_sum="x"),
    changed(model_state_dict={}), changed(model_state_dict=[1]), changed(optimizer_state_dict={}),
    changed(optimizer_state_dict={"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}),
    changed(elapsed_s=[]),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_with_a_damaged_state_training_starts_over_and_keeps_it(folder, monkeypatch, caplog, damage):
    settings = make_settings(total_tokens=20 * 32, eval_interval=5)
    stop_after(monkeypatch, 7)
    with pytest.raises(Interrupted):
        run(folder, settings=settings)
    path = folder / ".model.pt.in_progress/checkpoint.pt"
    damage(path)
    content = path.read_bytes()
    with caplog.at_level("INFO", logger="minlm"):
        run(folder, settings=settings)
    kept = folder / ".model.pt.in_progress.damaged"
    assert re.search(rf"starting over: {re.escape(str(path))} is damaged \(.+\)\. It is kept as {kept}\n", caplog.text)
    assert kept.read_bytes() == content
    assert not path.parent.exists()
    if damage in (cut, DAMAGES[-1]):
        run(folder, "whole.pt", settings=settings)
        assert result(folder, "model.pt") == result(folder, "whole.pt")


@pytest.mark.parametrize("damage", [cut, changed(rows=None), changed(model_state_dict={})])
def test_a_damaged_state_given_by_resume_is_an_error(folder, monkeypatch, damage):
    stop_after(monkeypatch, 7)
    with pytest.raises(Interrupted):
        run(folder)
    path = folder / ".model.pt.in_progress/checkpoint.pt"
    damage(path)
    content = path.read_bytes()
    with pytest.raises(MinlmError, match=r"is not a .*or is damaged \(.+\)"):
        run(folder, resume=path.parent)
    assert path.read_bytes() == content
    assert not (folder / ".model.pt.in_progress.damaged").exists()


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
def test_a_state_dir_with_other_files_is_refused_and_kept(folder, name, resume):
    theirs = folder / "mine" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("years of work")
    with pytest.raises(MinlmError, match=r"mine/ does not hold the state of a run but"):
        run(folder, state_dir=folder / "mine", resume=resume)
    assert theirs.read_text() == "years of work"
    assert [path for path in (folder / "mine").rglob("*") if path.is_file()] == [theirs]


@pytest.mark.parametrize("resume", [None, "nothing.pt"])
def test_files_that_appear_in_the_state_dir_stay(folder, monkeypatch, resume):
    (folder / "mine").mkdir()
    original = RunState.load

    def load(self):
        (folder / "mine/notes.txt").write_text("years of work")
        for name in ("123", "01234567-42-4242-0"):  # of our killed processes, on this machine or another
            (folder / f"mine/.metrics.csv.{name}.tmp").touch()
        return original(self) if resume is None else self.read(resume)

    monkeypatch.setattr(RunState, "load", load)
    if resume is None:
        run(folder, state_dir=folder / "mine")
    else:
        with pytest.raises(MinlmError, match="no such checkpoint"):
            run(folder, state_dir=folder / "mine")
    assert [path.name for path in (folder / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("output", ["log_csv", "checkpoint_path"])
def test_no_output_in_the_folder_that_is_removed(folder, output):
    inside = folder / "results/metrics.csv"
    given = (
        {"log_csv": None, "checkpoint_path": "results/metrics.csv"} if output == "checkpoint_path" else {output: inside}
    )
    name = given.pop("checkpoint_path", "model.pt")
    with pytest.raises(MinlmError, match=r"metrics\.csv.* is in .*results/"):
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


def test_the_fingerprint_depends_on_contents_and_not_on_names(folder):
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
    with RunState(folder / "state", "x") as state, pytest.raises(MinlmError, match="another trainer is using"):  # noqa: SIM117
        with RunState(folder / "state", "x"):
            pass
    assert not state.folder.exists()


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
