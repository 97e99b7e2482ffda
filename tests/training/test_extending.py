"""Runs of the schedule wsd that are made longer, states that no run continues, and models that are kept."""

import shutil

import pytest
import torch
from small_runs import make_settings, result, run, stop_after

from minlm import process
from minlm.errors import MinlmError
from minlm.training.evaluation import validation_loss
from minlm.training.signals import Interrupted
from minlm.training.tokens import open_tokens
from minlm.training.trainer import Trainer
from minlm.transformer.checkpoint import load_model, load_tensors
from minlm.transformer.classic import decay_start, get_lr_wsd_schedule

SHORT, LONG = (make_settings(schedule="wsd", total_tokens=steps * 32) for steps in (40, 80))
KEEP = {"keep_checkpoints": [7, 20], "keep_best": True}
STATE = ".model.pt.in_progress"


def test_the_schedule():
    """As torch's own schedulers give it."""
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    stages = [
        torch.optim.lr_scheduler.LinearLR(optimizer, 1 / 4, 1.0, 3),
        torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0),
        torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, 8),
    ]
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, stages, [4, 32])
    for step in range(40):
        assert get_lr_wsd_schedule(step, 1.0, 0.1, 4, 40) == pytest.approx(optimizer.param_groups[0]["lr"]), step
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("steps", [1, 4, 5, 100])
def test_the_decay_begins_after_the_warm_up_and_before_the_end(steps):
    assert 4 <= decay_start(4, max(steps, 4)) <= max(steps, 4)


@pytest.mark.parametrize("stop", [None, 7, 25])
def test_a_longer_run_continues_the_constant_phase(folder, monkeypatch, caplog, stop):
    """A finished run from the start of its decay, an interrupted one from its last state; both to the same bytes."""
    run(folder, "whole.pt", settings=LONG)
    if stop:
        stop_after(monkeypatch, stop)
        with pytest.raises(Interrupted):
            run(folder, settings=SHORT)
    else:
        run(folder, settings=SHORT)
    with caplog.at_level("INFO", logger="minlm"):
        run(folder, settings=LONG)
    assert ("continuing a shorter run at step 32" if stop is None else f"at step {stop}") in caplog.text
    assert result(folder, "model.pt") == result(folder, "whole.pt")


def test_a_run_in_its_decay_is_not_continued_by_a_longer_one_but_from_before(folder, monkeypatch, caplog):
    run(folder, "whole.pt", settings=LONG)
    stop_after(monkeypatch, 37)
    with pytest.raises(Interrupted):
        run(folder, settings=SHORT)
    with caplog.at_level("INFO", logger="minlm"):
        run(folder, settings=LONG)
    assert "starting fresh" in caplog.text
    assert "continuing a shorter run at step 32" in caplog.text
    assert result(folder, "model.pt") == result(folder, "whole.pt")


@pytest.mark.parametrize("changes", [{"seed": 1}, {"lr_max": 2e-2}, {"schedule": "linear"}])
def test_another_run_does_not_continue(folder, caplog, changes):
    run(folder, settings=SHORT)
    other = make_settings(**{"schedule": "wsd", "total_tokens": 80 * 32} | changes)
    with caplog.at_level("INFO", logger="minlm"):
        run(folder, settings=other)
    assert "continuing" not in caplog.text
    run(folder, "whole.pt", settings=other)
    assert result(folder, "model.pt") == result(folder, "whole.pt")


def test_an_abandoned_state_is_kept(folder, monkeypatch, caplog):
    stop_after(monkeypatch, 17)
    with pytest.raises(Interrupted):
        run(folder, settings=make_settings(seed=1))
    with caplog.at_level("INFO", logger="minlm"):
        run(folder)
    kept = folder / f"{STATE}.abandoned"
    assert f"It is kept as {kept}" in caplog.text
    assert load_tensors(kept)["iteration"] == 17
    run(folder, settings=make_settings(seed=1), resume=kept)
    run(folder, "whole.pt", settings=make_settings(seed=1))
    assert result(folder, "model.pt") == result(folder, "whole.pt")


def models(folder):
    return {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()}


@pytest.mark.parametrize("stop", [8, 21])
def test_models_are_kept_exactly(folder, monkeypatch, stop):
    """The model of a step is that of a run whose schedule is the same; interruptions change nothing."""
    settings = make_settings(**KEEP)
    rows = run(folder, settings=settings)
    whole = models(folder)
    assert set(whole) == {"step-7.pt", "step-20.pt", "best.pt"}
    best = min((row for row in rows if row["val_loss"] is not None), key=lambda row: row["val_loss"])
    assert load_model(folder / "checkpoints/best.pt")[1]["iteration"] == best["iter"]
    assert load_model(folder / "checkpoints/step-7.pt")[1]["iteration"] == 7
    assert not (folder / STATE).exists()
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    (folder / "model.pt").unlink()
    stop_after(monkeypatch, stop)
    with pytest.raises(Interrupted):
        run(folder, settings=settings)
    assert not models(folder)
    run(folder, settings=settings)
    assert models(folder) == whole


def test_the_best_is_not_the_last_if_the_model_gets_worse(folder):
    rows = run(folder, settings=make_settings(keep_best=True, lr_max=1.0, lr_min=1.0, eval_interval=1))
    losses = {row["iter"]: row["val_loss"] for row in rows}
    model, info = load_model(folder / "checkpoints/best.pt")
    assert info["iteration"] == min(losses, key=losses.__getitem__) < 40
    valid = open_tokens(folder / "valid.npy", 16, 1)
    assert validation_loss(model, valid, 8, 4) == pytest.approx(min(losses.values()), rel=1e-5)


def test_a_step_after_the_last_is_refused(folder):
    with pytest.raises(MinlmError, match="keep_checkpoints: step 41 is after the last, 40"):
        run(folder, settings=make_settings(keep_checkpoints=[41]))


def test_a_finished_run_is_restored_with_all_its_models(folder, monkeypatch):
    monkeypatch.setattr(process, "in_workflow", lambda: True)
    settings = make_settings(**KEEP)
    run(folder, settings=settings)
    whole = models(folder)
    shutil.rmtree(folder / "checkpoints")
    (folder / "model.pt").unlink()
    monkeypatch.setattr(Trainer, "train_step", None)
    run(folder, settings=settings)
    assert models(folder) == whole
