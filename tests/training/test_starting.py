"""Trainings that start from a finished model."""

import pytest
import torch
from small_runs import MODEL, make_settings, result, run, stop_after

from minlm.errors import MinlmError
from minlm.scripts import train
from minlm.tokenization import BPETokenizer
from minlm.training.signals import Interrupted
from minlm.training.starting import FinishedModel, extends
from minlm.transformer import TransformerLM
from minlm.transformer.checkpoint import load_model, save_model

IDS = torch.arange(8)[None] % 13


@pytest.fixture
def base(folder):
    run(folder, "base.pt")
    return folder / "base.pt"


def started(base, **changes):
    model = TransformerLM(**(MODEL | changes))
    FinishedModel(base).start(model)
    return model


def test_it_starts_with_the_function_of_the_model(base):
    expected = load_model(base)[0](IDS)
    assert torch.equal(started(base)(IDS), expected)
    assert torch.equal(started(base, context_length=32)(IDS), expected)
    more = started(base, vocab_size=19)
    torch.testing.assert_close(more(IDS)[..., :16], expected)
    for weight in (more.token_embeddings.weight, more.lm_head.weight):
        torch.testing.assert_close(weight[16:], weight[:16].mean(dim=0).expand(3, -1))


def test_training_goes_on_exactly_after_an_interruption(folder, base, monkeypatch):
    rows = run(folder, "whole.pt", init_from=FinishedModel(base))
    assert rows[0]["train_loss"] < 1.5  # the first step of the base had more than 2
    stop_after(monkeypatch, 13)
    with pytest.raises(Interrupted):
        run(folder, "parts.pt", init_from=FinishedModel(base))
    run(folder, "parts.pt", init_from=FinishedModel(base))
    assert result(folder, "parts.pt") == result(folder, "whole.pt")
    assert result(folder, "whole.pt")[0] != result(folder, "base.pt")[0]


def test_another_model_to_start_from_is_another_run(folder, base, monkeypatch, caplog):
    stop_after(monkeypatch, 13)
    with pytest.raises(Interrupted):
        run(folder, init_from=FinishedModel(base))
    run(folder, "other.pt", settings=make_settings(seed=1))
    with caplog.at_level("INFO", logger="minlm"):
        run(folder, init_from=FinishedModel(folder / "other.pt"))
    assert "starting fresh" in caplog.text


def test_the_program_takes_the_architecture_from_the_model(folder, base):
    arguments = [f"--train_tokens={folder}/train.npy", f"--val_tokens={folder}/valid.npy", f"--init_from={base}",
                 "--batch_size=4", "--total_tokens=320", "--warmup_iters=2"]  # fmt: skip
    train.main([*arguments, f"--checkpoint_path={folder}/tuned.pt", "--context_length=10"])
    model, info = load_model(folder / "tuned.pt")
    assert model.config == load_model(base)[0].config | {"context_length": 10}
    assert info["training"]["init_from"] == str(base)
    assert not info["training"]["bigram_init"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"d_ff": 32}, r"--d_ff is 32, but .*base\.pt, from which the training starts, has 24"),
        ({"vocab_size": 15}, "--vocab_size is 15, but .* has 16 tokens"),
        ({"no_rope": True}, "--no_rope is True, but .* has False"),
    ],
)
def test_another_architecture_is_refused(base, changes, problem):
    with pytest.raises(MinlmError, match=problem):
        FinishedModel(base).check(TransformerLM(**(MODEL | changes)).config, None)


def test_the_tokenizer_may_only_have_more_special_tokens(tmp_path):
    tokens = {index: bytes([index]) for index in range(256)} | {256: b"ab"}
    tokenizer = BPETokenizer(tokens, [(b"a", b"b")])
    more = BPETokenizer(tokens, [(b"a", b"b")], ["<|user|>", "<|end|>"])
    other = BPETokenizer(tokens | {256: b"ba"}, [(b"b", b"a")])
    assert extends(tokenizer, tokenizer.fingerprint)
    assert extends(more, tokenizer.fingerprint)
    assert not extends(other, tokenizer.fingerprint)
    assert not extends(tokenizer, more.fingerprint)
    model = TransformerLM(**(MODEL | {"vocab_size": 257}))
    save_model(tmp_path / "model.pt", model, 1, tokenizer.fingerprint, {})
    with pytest.raises(MinlmError, match="was trained with another tokenizer"):
        FinishedModel(tmp_path / "model.pt").check(model.config, other)
