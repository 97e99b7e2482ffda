"""`reference` trains with the plain forms: the same run up to rounding, and a switch that starts nothing over."""

import pytest
import torch
from small_runs import MODEL, make_settings, run, stop_after

from minlm import transformer as plain
from minlm.fast import transformer as fast
from minlm.training.signals import Interrupted
from minlm.training.trainer import Trainer
from minlm.transformer import generate
from minlm.transformer.checkpoint import load_model


@pytest.mark.parametrize("flash_attention", [False, True])
def test_the_plain_forms_train_the_same_model(folder, flash_attention):
    losses, texts = [], []
    for reference in (True, False):
        settings = make_settings(reference=reference, dtype="float32")
        rows = run(folder, settings=settings, model={**MODEL, "flash_attention": flash_attention})
        model, info = load_model(folder / "model.pt")
        losses.append(rows[-1]["val_loss"])
        texts.append(generate(model, [1], 30, temperature=0.8, seed=0).tolist())
        assert info["training"]["compile"] == "off"
        assert "reference" not in info["training"]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    assert texts[0] == texts[1]


@pytest.mark.parametrize(("reference", "form"), [(True, plain), (False, fast)])
def test_one_switch_chooses_all_forms(reference, form):
    settings = make_settings(reference=reference, compile="auto", total_tokens=10**12)
    trainer = Trainer(MODEL, settings, range(900), range(70), None, torch.device("cpu"))
    assert type(trainer.model) is form.TransformerLM
    assert type(trainer.optimizer) is form.AdamW
    assert trainer.clip_gradients is form.gradient_clipping
    assert {type(layer.attn) for layer in trainer.model.layers} == {form.MultiHeadSelfAttention}
    if reference:
        assert trainer.computation.dtype == torch.float32
        assert not trainer.computation.compiled


def test_an_interrupted_run_goes_on_in_the_other_form(folder, monkeypatch, caplog):
    stop_after(monkeypatch, 17)
    with pytest.raises(Interrupted):
        run(folder, settings=make_settings(reference=True, dtype="float32"))
    with caplog.at_level("INFO", logger="minlm"):
        rows = run(folder, settings=make_settings(dtype="float32"))
    assert "continuing an interrupted run at step 17" in caplog.text
    assert [row["iter"] for row in rows] == [1, 2, 4, 8, 10, 15, 20, 30, 40]
