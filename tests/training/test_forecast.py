"""What a training says before it begins, and its warning about memory."""

import pytest
from small_runs import MODEL, make_settings, run

from minlm import progress
from minlm.training import forecast

GB = 10**9


def warnings(text):
    return [line for line in text.splitlines() if line.startswith("warning:")]


@pytest.mark.parametrize(("needed", "available", "warns"), [(3 * GB, 2 * GB, True), (3 * GB, 3 * GB, False)])
def test_a_warning_if_memory_will_not_do(folder, monkeypatch, capfd, needed, available, warns):
    monkeypatch.setattr(forecast, "needed_memory", lambda trainer, vocab_size: needed)
    monkeypatch.setattr(forecast, "memory_of", lambda device: available)
    progress.configure()
    run(folder, settings=make_settings(total_tokens=32, warmup_iters=0))
    shown = capfd.readouterr().err
    assert f"memory: about 3.0 GB of {available / GB:.1f} GB" in shown
    assert len(warnings(shown)) == warns
    if warns:
        (warning,) = warnings(shown)
        assert "needs about 3.0 GB of memory, and there are 2.0 GB" in warning
        assert all(f" {setting}" in warning for setting in ("grad_accum_steps", "gradient_checkpointing", "batch_size"))
    assert shown.index("memory:") < shown.index("train: ") < shown.index("before training:") < shown.index("step 1:")


def test_no_warning_about_memory_that_nobody_knows(folder, monkeypatch, capfd):
    monkeypatch.setattr(forecast, "memory_of", lambda device: None)
    progress.configure()
    run(folder, settings=make_settings(total_tokens=32, warmup_iters=0))
    shown = capfd.readouterr().err
    assert "memory: about 0.5 GB\n" in shown
    assert warnings(shown) == []


def test_the_settings_that_the_warning_names_lower_the_need(folder):
    """… and the estimate grows with the vocabulary: 16 bytes for each of the 2 × 16 weights of a token."""

    def need(vocab_size=16, **changes):
        seen = []

        def note(trainer, size):
            seen.append(forecast.needed_memory(trainer, vocab_size))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("minlm.training.run.announce", note)
            settings = {"total_tokens": 64 * 8, "batch_size": 64, "warmup_iters": 0} | changes
            run(folder, model=MODEL | {"num_layers": 3}, settings=make_settings(**settings))
        (folder / "model.pt").unlink()
        return seen[0]

    plain = need()
    assert need(vocab_size=1016) - plain == 1000 * 2 * 16 * 16
    assert max(need(grad_accum_steps=2), need(gradient_checkpointing=True), need(batch_size=32)) < plain
