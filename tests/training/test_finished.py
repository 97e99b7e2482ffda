"""A training that finished although snakemake did not record it is restored, not repeated."""

import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from small_runs import make_settings, result, run, stop_after

from minlm import process
from minlm.errors import MinlmError
from minlm.finished import forget
from minlm.progress import log
from minlm.training.signals import Interrupted
from minlm.training.state import RunState
from minlm.training.trainer import Trainer


@pytest.fixture
def finished(folder, monkeypatch):
    """A folder and the result of a job that trained there; snakemake has deleted the files to run the job again."""
    monkeypatch.setenv(process.OWNER, process.name())
    for name in ("train.npy", "valid.npy"):
        os.utime(folder / name, (0, time.time() - 60))
    run(folder)
    made = result(folder, "model.pt")
    for name in ("model.pt", "model.pt.csv"):
        (folder / name).unlink()
    return folder, made


@pytest.fixture
def no_steps(monkeypatch):
    monkeypatch.setattr(Trainer, "train_step", lambda self: pytest.fail("it was trained again"))


def hidden(folder):
    return sorted(path.name for path in folder.glob(".*"))


@pytest.mark.parametrize("links", [True, False])
def test_it_is_restored_at_once(finished, no_steps, monkeypatch, caplog, links):
    folder, made = finished
    if not links:
        monkeypatch.setattr(os, "link", lambda *paths: (_ for _ in ()).throw(PermissionError()))
    before = time.time()
    with caplog.at_level("INFO", logger="minlm"):
        rows = run(folder)
    assert result(folder, "model.pt") == made
    assert [row["iter"] for row in rows] == [1, 2, 4, 8, 10, 15, 20, 30, 40]
    assert (folder / "model.pt").stat().st_mtime > before - 1  # newer than its inputs
    assert [message for message in caplog.messages if "this training had already finished" in message]
    assert hidden(folder) == [".model.pt.finished"]
    forget([str(folder / "model.pt"), str(folder / "another.pt")])
    assert hidden(folder) == []


def test_a_second_job_waits_for_the_first_and_takes_its_model(folder, monkeypatch):
    """As after the snakemake of a cluster was killed: its job runs on, and the next call submits another."""
    monkeypatch.setenv(process.OWNER, process.name())
    steps, is_waited_for = [], threading.Event()

    def train_step(self, original=Trainer.train_step):
        steps.append(self.step)
        assert is_waited_for.wait(60)
        original(self)

    class Listener(logging.Handler):
        def emit(self, record):
            if record.getMessage().startswith("waiting: another trainer is using"):
                is_waited_for.set()

    monkeypatch.setattr(Trainer, "train_step", train_step)
    monkeypatch.setattr(log, "handlers", [Listener()])
    monkeypatch.setattr(log, "level", logging.INFO)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run, folder)
        end = time.monotonic() + 60
        while not steps:
            assert time.monotonic() < end
        second = run(folder)
        assert first.result(60) == second
    assert steps == list(range(40))


def test_a_model_changed_in_place_is_not_taken_for_the_finished_one(finished):
    folder, made = finished
    run(folder)
    with open(folder / "model.pt", "r+b") as handle:  # the record has a hard link to this file
        handle.write(b"XX")
    run(folder)
    assert result(folder, "model.pt") == made


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"[" * 100_000, b'{"rows": 5, "proof": ""}', b"\xff", None])
def test_a_damaged_record_is_not_used(finished, damage):
    folder, made = finished
    record = folder / ".model.pt.finished/record.json"
    if damage is None:
        text = record.read_text()
        record.write_text(text.replace('"iter": 15', '"iter": 16'))
        assert record.read_text() != text
    else:
        record.write_bytes(damage)
    run(folder)
    assert result(folder, "model.pt") == made


@pytest.mark.parametrize("change", ["touched input", "settings", "started by hand"])
def test_another_training_starts_fresh(finished, monkeypatch, change):
    folder, made = finished
    if change == "touched input":
        os.utime(folder / "valid.npy", (0, time.time() + 1))
    if change == "started by hand":
        monkeypatch.delenv(process.OWNER)
    settings = make_settings(**({"seed": 1} if change == "settings" else {}))
    stop_after(monkeypatch, 7)
    with pytest.raises(Interrupted):
        run(folder, settings=settings)
    run(folder, settings=settings)
    assert (result(folder, "model.pt") == made) == (change != "settings")


def test_a_run_succeeds_even_if_no_record_can_be_kept(finished, monkeypatch, caplog):
    folder, made = finished
    forget([str(folder / "model.pt")])
    (folder / ".model.pt.finished").write_text("in the way")
    run(folder)
    assert result(folder, "model.pt") == made
    assert "if snakemake is killed now, this training will be repeated: cannot write" in caplog.text


def test_the_process_that_has_the_state_is_named(folder):
    with RunState(folder / "state", "x"):
        who = rf"another trainer is using .*state/ \(process {os.getpid()} on .+\)"
        with pytest.raises(MinlmError, match=who), RunState(folder / "state", "x"):
            pass
