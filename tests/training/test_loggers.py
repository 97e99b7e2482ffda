"""The rows of a run in TensorBoard's and trackio's own readers; Weights & Biases is in test_train_plot_scripts.py."""

import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from small_runs import run, stop_after

from minlm.errors import MinlmError
from minlm.training.loggers import LOGGERS
from minlm.training.signals import Interrupted

STEPS = [1, 2, 4, 8, 10, 15, 20, 30, 40]


def scalars(folder):
    """Each value by its name: time, step and value of each point, as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {name: events.Scalars(name) for name in events.Tags()["scalars"]}


def test_tensorboard_shows_the_rows_of_an_interrupted_run_once(folder, monkeypatch):
    stop_after(monkeypatch, 23)
    with pytest.raises(Interrupted):
        run(folder, log_to=["csv", "tensorboard"])
    assert [point.step for point in scalars(folder)["train_loss"]] == STEPS[:7]
    (folder / "tensorboard" / "events.out.tfevents.1.mine").write_bytes(b"")  # of somebody else
    rows = run(folder, log_to=["tensorboard"])
    found = scalars(folder)
    assert set(found) == {"lr", "train_loss", "val_loss", "elapsed_s", "tokens_seen", "tokens_per_s", "grad_norm"}
    assert [point.step for point in found["train_loss"]] == [row["iter"] for row in rows] == STEPS
    for name, points in found.items():
        expected = [row[name] for row in rows if row[name] is not None]
        assert [point.value for point in points] == pytest.approx(expected, rel=1e-6), name
    assert [point.step for point in found["val_loss"]] == [15, 30, 40]
    assert len(list((folder / "tensorboard").iterdir())) == 2


def test_two_runs_side_by_side(folder):
    for name in ("a", "b"):
        with LOGGERS["tensorboard"](folder / name / "model.pt", {"lr_max": 0.5}) as log_row:
            log_row({"timestamp": "2026-01-02T03:04:05Z", "iter": 7, "train_loss": 2.5, "val_loss": None})
    for name in ("a", "b"):
        (point,) = scalars(folder / name)["train_loss"]
        assert (point.step, point.value, point.wall_time) == (7, 2.5, 1767323045.0)


def test_trackio(folder, monkeypatch):
    """Through a stand-in, because trackio does not fit the versions that the tests run with."""
    logged, finished = [], []
    run_of_trackio = SimpleNamespace(
        log=lambda values, step: logged.append((step, values)), finish=lambda: finished.append(True)
    )
    made = []
    stand_in = SimpleNamespace(init=lambda **options: made.append(options) or run_of_trackio)
    monkeypatch.setitem(sys.modules, "trackio", stand_in)
    monkeypatch.setattr("minlm.training.run.require_loggers", lambda names: None)
    monkeypatch.setenv("TRACKIO_PROJECT", "tries")
    rows = run(folder, log_to=["trackio"])
    assert [step for step, _ in logged] == STEPS
    assert [values["train_loss"] for _, values in logged] == [row["train_loss"] for row in rows]
    assert made[0]["project"] == "tries"
    assert made[0]["config"]["batch_size"] == 4
    assert finished == [True]


@pytest.mark.parametrize(("name", "install"), [("tensorboard", "'minlm[viz]'"), ("trackio", "'trackio'")])
def test_a_missing_package_is_said_before_anything_else(folder, monkeypatch, name, install):
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    (folder / "train.npy").unlink()
    with pytest.raises(MinlmError, match=rf"--log_to {name} needs .* pip install {install}".replace("[", r"\[")):
        run(folder, log_to=[name])


def test_models_of_other_names_keep_their_events(folder):
    run(folder, "a.pt", log_to=["tensorboard"])
    run(folder, "b.pt", log_to=["tensorboard"])
    assert len(list((folder / "tensorboard").iterdir())) == 2


def broken(when):
    @contextmanager
    def logger(model, config):
        if when == "at once":
            raise RuntimeError("no key")

        def log_row(row):
            calls.append(row)
            raise RuntimeError("disk full")

        calls = []
        yield log_row
        assert len(calls) == 1

    return logger


def test_a_logger_that_fails(folder, monkeypatch, caplog):
    """At the start it is an error; later, the training goes on without it."""
    monkeypatch.setitem(LOGGERS, "trackio", broken("at once"))
    monkeypatch.setattr("minlm.training.run.require_loggers", lambda names: None)
    with pytest.raises(MinlmError, match="--log_to trackio: no key"):
        run(folder, log_to=["trackio"])
    monkeypatch.setitem(LOGGERS, "trackio", broken("later"))
    with caplog.at_level("WARNING", logger="minlm"):
        assert run(folder, log_to=["trackio"])[-1]["iter"] == 40
    assert "going on without trackio, which does not work any more (disk full)" in caplog.text
