"""Validation loss by brute force, bits per byte by hand, baselines against the compressors themselves."""

import bz2
import lzma
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minlm.errors import MinlmError
from minlm.training.evaluation import evaluate, text_bytes, validation_loss
from minlm.transformer import TransformerLM

CONTEXT = 8
# Ids 0–4 have 1, 2, 3, 4 and 5 bytes of text, id 5 is special.
VOCAB = {0: b"a", 1: b"bb", 2: b"ccc", 3: b"dddd", 4: b"eeeee", 5: b"<|endoftext|>"}
TOKENIZER = SimpleNamespace(vocab=VOCAB, special_tokens=["<|endoftext|>"])


def make_model() -> TransformerLM:
    torch.manual_seed(0)
    return TransformerLM(6, CONTEXT, 16, 2, 2, 24)


def make_tokens(length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 6, length).astype(np.uint16)


@pytest.mark.parametrize("length", [2, 8, 9, 10, 57, 58])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_validation_loss_is_the_mean_over_all_windows(length, batch_size):
    model, tokens = make_model(), make_tokens(length)
    nats = []
    for start in range(0, length - 1, CONTEXT):
        window = torch.tensor(tokens[start : start + CONTEXT + 1].astype(np.int64))
        log_probabilities = model(window[None, :-1])[0].detach().log_softmax(-1)
        nats += [-float(row[token]) for row, token in zip(log_probabilities, window[1:], strict=True)]
    assert len(nats) == length - 1
    assert validation_loss(model, tokens, CONTEXT, batch_size) == pytest.approx(np.mean(nats), rel=1e-6)


def test_validation_loss_leaves_no_trace():
    model, tokens = make_model(), make_tokens(50)
    model.train()
    first = validation_loss(model, tokens, CONTEXT, 4)
    assert model.training
    assert validation_loss(model, tokens, CONTEXT, 4) == first
    assert all(parameter.grad is None for parameter in model.parameters())
    assert validation_loss(model, tokens, CONTEXT, 4, dtype=torch.bfloat16) == pytest.approx(first, abs=0.05)


def test_bytes_of_all_tokens_but_the_first_and_the_special():
    assert text_bytes(np.array([4, 0, 1, 5, 2, 3, 5], dtype=np.uint16), TOKENIZER) == 1 + 2 + 3 + 4


def test_evaluation_of_a_model_that_knows_nothing(tmp_path):
    model, tokens = make_model(), make_tokens(500)
    torch.nn.init.zeros_(model.lm_head.weight)  # all six tokens equally probable
    text = tmp_path / "valid.txt"
    text.write_bytes(b"In the beginning God made the heaven and the earth.\n" * 50)
    result = evaluate(model, tokens, TOKENIZER, text, batch_size=7, iteration=12)

    num_bytes = sum(len(VOCAB[token]) for token in tokens[1:].tolist() if token != 5)
    assert result["nats_per_token"] == pytest.approx(math.log(6), rel=1e-6)
    assert result["perplexity"] == pytest.approx(6, rel=1e-6)
    assert result["bits_per_byte"] == pytest.approx(499 * math.log2(6) / num_bytes, rel=1e-6)
    assert (result["tokens"], result["bytes"]) == (499, num_bytes)
    assert result["baseline"] == {
        "lzma_bits_per_byte": 8 * len(lzma.compress(text.read_bytes())) / text.stat().st_size,
        "bz2_bits_per_byte": 8 * len(bz2.compress(text.read_bytes())) / text.stat().st_size,
    }
    assert result["parameters"] == model.num_parameters()
    assert result["iteration"] == 12


def test_bad_validation_texts(tmp_path):
    model, tokens = make_model(), make_tokens(50)
    with pytest.raises(MinlmError, match=r"missing\.txt: there is no such text file"):
        evaluate(model, tokens, TOKENIZER, tmp_path / "missing.txt")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(MinlmError, match=r"empty\.txt: the text is empty"):
        evaluate(model, tokens, TOKENIZER, tmp_path / "empty.txt")
    (tmp_path / "text.txt").write_text("text")
    with pytest.raises(MinlmError, match="an id that the tokenizer lacks"):
        evaluate(model, np.full(50, 6), TOKENIZER, tmp_path / "text.txt")
    with pytest.raises(MinlmError, match="all special tokens"):
        evaluate(model, np.full(50, 5), TOKENIZER, tmp_path / "text.txt")


@pytest.mark.parametrize(("scale", "loss"), [(1.0, None), (1e6, math.inf)])
def test_a_loss_too_large_for_a_perplexity(tmp_path, scale, loss):
    model = TransformerLM(6, CONTEXT, 16, 2, 2, 24)
    with torch.no_grad():
        model.lm_head.weight *= scale
    (tmp_path / "text").write_text("some text")
    result = evaluate(model, make_tokens(50), TOKENIZER, tmp_path / "text")
    assert result["perplexity"] == (loss or pytest.approx(math.exp(result["nats_per_token"])))
    with torch.no_grad():
        model.lm_head.weight[0] = np.nan
    with pytest.raises(MinlmError, match="the model's loss on these tokens is nan"):
        evaluate(model, make_tokens(50), TOKENIZER, tmp_path / "text")
