"""The training loop: it learns, as a textbook loop does, and says what is wrong."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from small_runs import MODEL, TOKENIZER, make_settings, run

from minlm.errors import MinlmError
from minlm.fast.transformer.compiling import LanguageModelLoss
from minlm.training.evaluation import validation_loss
from minlm.training.metrics import loss_since_validation
from minlm.training.tokens import open_tokens
from minlm.training.trainer import Trainer
from minlm.transformer import AdamW, TransformerLM, cross_entropy_loss, get_lr_linear_schedule, gradient_clipping
from minlm.transformer.checkpoint import load_model, load_tensors
from minlm.transformer.data import batch_at
from minlm.transformer.init import look_back


def test_it_learns_and_the_rows_say_what_happened(folder):
    rows = run(folder, tokenizer=TOKENIZER)
    assert [row["iter"] for row in rows] == [1, 2, 4, 8, 10, 15, 20, 30, 40]
    assert [row["iter"] for row in rows if row["val_loss"] is not None] == [15, 30, 40]
    assert [row["tokens_seen"] for row in rows] == [row["iter"] * 32 for row in rows]
    assert rows[-1]["val_loss"] < 1.5 < math.log(16) < rows[0]["train_loss"] + 1
    model, info = load_model(folder / "model.pt")
    assert info["iteration"] == 40
    assert info["tokenizer"] == "a fingerprint"
    assert info["training"] == make_settings().stated() | {"compile": "off", "bigram_init": False}
    valid = np.load(folder / "valid.npy")
    loss = validation_loss(model, valid, 8, batch_size=1)
    assert rows[-1]["val_loss"] == pytest.approx(loss, rel=1e-6)
    num_bytes = sum(1 + token % 3 for token in valid[1:].tolist())
    assert rows[-1]["val_bits_per_byte"] == pytest.approx(loss * 69 / math.log(2) / num_bytes, rel=1e-6)
    assert all(row["elapsed_s"] >= 0 and row["tokens_per_s"] > 0 and row["grad_norm"] > 0 for row in rows)


def test_the_loop_is_the_textbook_loop(folder):
    """The same weights and losses as a plain loop with torch's own clipping around the library's parts."""
    rows = run(folder)
    torch.manual_seed(0)
    model = TransformerLM(**MODEL)
    look_back(model)
    optimizer = AdamW(model.parameters(), betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    tokens = open_tokens(folder / "train.npy", 16, 8)
    losses = []
    for step in range(40):
        optimizer.param_groups[0]["lr"] = get_lr_linear_schedule(step, 1e-2, 1e-3, 4, 40)
        inputs, targets = batch_at(tokens, 4, 8, "cpu", 0, step)
        optimizer.zero_grad()
        losses.append(cross_entropy_loss(model(inputs), targets))
        losses[-1].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    steps = [0, *(row["iter"] for row in rows)]
    means = [torch.stack(losses[first:last]).mean().item() for first, last in pairwise(steps)]
    assert [row["train_loss"] for row in rows] == pytest.approx(means, rel=1e-4)
    assert loss_since_validation(rows) == pytest.approx(torch.stack(losses[30:]).mean().item(), rel=1e-4)
    assert loss_since_validation(rows[:6]) == pytest.approx(torch.stack(losses[:15]).mean().item(), rel=1e-4)
    for name, tensor in load_model(folder / "model.pt")[0].state_dict().items():
        torch.testing.assert_close(tensor, model.state_dict()[name], rtol=1e-4, atol=1e-5)


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
        monkeypatch.setattr("minlm.fast.transformer.gradient_clipping", spoiled)
    with pytest.raises(MinlmError, match=r"at step 23\. The last good state is .*checkpoint\.pt.*lower lr_max"):
        run(folder)
    assert load_tensors(folder / ".model.pt.in_progress/checkpoint.pt")["iteration"] == 20
    assert not (folder / "model.pt").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"total_tokens": 31}, "less than one batch of 4 × 8 = 32"),
        ({"warmup_iters": 41}, "--warmup_iters: 41 is longer than the run of 40 steps"),
        ({"batch_size": 0}, "--batch_size must be a whole number ≥ 1 and"),
        ({"grad_accum_steps": 0}, "--grad_accum_steps must be a whole number ≥ 1 and"),
        ({"grad_accum_steps": 3}, "--grad_accum_steps: batch_size 4 does not divide into 3 equal parts"),
        ({"compile": "maybe"}, "--compile must be one of auto, on, off, not 'maybe'"),
        ({"eval_interval": 0}, "--eval_interval must be a whole number ≥ 1 and"),
        ({"lr_max": math.nan}, "--lr_max must be a number ≥ 1e-12 and ≤ 100, not nan"),
        ({"beta2": 1.0}, "--beta2 must be a number ≥ 0 and < 1, not 1.0"),
        ({"lr_min": 1.0}, "--lr_min: 1.0 is above lr_max 0.01"),
        ({"seed": -1}, "--seed must be a whole number ≥ 0 and"),
        ({"lr_min": math.inf}, "--lr_min must be a number ≥ 0 and ≤ 100, not inf"),
        ({"weight_decay": math.inf}, "--weight_decay must be a number ≥ 0 and ≤ 1,000, not inf"),
        ({"dtype": "float8"}, "--dtype must be one of auto, float32, bfloat16, not 'float8'"),
    ],
)
def test_settings_that_make_no_sense(folder, changes, message):
    with pytest.raises(MinlmError, match=message):
        run(folder, settings=make_settings(**changes))
    assert {path.name for path in folder.iterdir()} == {"train.npy", "valid.npy"}


def test_a_tokenizer_that_does_not_fit(folder):
    with pytest.raises(MinlmError, match="ids up to 13, which do not fit --vocab_size 13"):
        run(folder, model=MODEL | {"vocab_size": 13}, tokenizer=TOKENIZER)


@pytest.mark.parametrize("output", ["log_csv", "state_dir"])
def test_outputs_that_cannot_be_written_are_found_before_training(folder, output, monkeypatch):
    monkeypatch.setattr(Trainer, "run", lambda self: pytest.fail("training began"))
    with pytest.raises((MinlmError, OSError)) as error:
        run(folder, **{output: folder / "train.npy/below"})
    assert "train.npy" in str(error.value)
