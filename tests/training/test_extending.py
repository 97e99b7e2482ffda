"""Runs of the schedule wsd that are made longer, and states that no run continues."""

import pytest
import torch
from small_runs import make_settings, result, run, stop_after

from minlm.training.signals import Interrupted
from minlm.transformer.checkpoint import load_tensors
from minlm.transformer.classic import decay_start, get_lr_wsd_schedule

SHORT, LONG = (make_settings(schedule="wsd", total_tokens=steps * 32) for steps in (40, 80))
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
