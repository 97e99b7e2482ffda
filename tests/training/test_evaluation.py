"""Validation loss by brute force, bits per byte by hand, baselines against the compressors themselves."""

import bz2
import lzma
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minlm.errors import MinlmError
from minlm.training import evaluation
from minlm.training.evaluation import evaluate, num_targets, sample_starts, text_bytes, validation_loss
from minlm.training.processes import Processes
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


@pytest.mark.parametrize(("length", "most", "kept"), [(100, 40, [0, 16, 32, 56, 72]), (100, 7, [0]), (58, 57, None)])
def test_a_sample_of_a_large_set(length, most, kept):
    """Windows as far apart as whole windows allow; bits per byte are of their targets."""
    model, tokens = make_model(), make_tokens(length)
    starts = sample_starts(np.zeros(length), CONTEXT, most)
    assert (starts if starts is None else starts.tolist()) == kept
    if kept is None:
        kept = range(0, length - 1, CONTEXT)
    windows = [tokens[start : start + CONTEXT + 1] for start in kept]
    losses = [validation_loss(model, window, CONTEXT, 1) * (len(window) - 1) for window in windows]
    count = sum(len(window) - 1 for window in windows)
    assert num_targets(np.zeros(length), CONTEXT, most) == count
    assert validation_loss(model, tokens, CONTEXT, 2, most=most) == pytest.approx(sum(losses) / count, rel=1e-6)
    assert text_bytes(tokens, TOKENIZER, CONTEXT, most) == sum(text_bytes(window, TOKENIZER) for window in windows)


@pytest.mark.parametrize("most", [None, 60])
@pytest.mark.parametrize("count", [2, 3, 50])
def test_each_process_reads_only_its_own_windows(count, most):
    class Recorder:
        def __init__(self):
            self.starts, self.tokens = [], make_tokens(101)

        def __len__(self):
            return len(self.tokens)

        def __getitem__(self, index):
            self.starts += [index.start] if index.start is not None else []
            return self.tokens[index]

    class Alone(Processes):
        def sum(self, values):
            return values

    alone, read, total = Recorder(), [], 0.0
    expected = validation_loss(make_model(), alone, CONTEXT, 2, most=most)
    for rank in range(count):
        recorder = Recorder()
        total += validation_loss(make_model(), recorder, CONTEXT, 2, processes=Alone(rank, count), most=most)
        read += recorder.starts
    assert sorted(read) == sorted(alone.starts)
    assert total == pytest.approx(expected, rel=1e-6)


def test_compressors_read_a_sample_of_a_long_text(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "BLOCK", 64)
    text = np.random.default_rng(0).integers(97, 103, 30_000).astype(np.uint8).tobytes()
    (tmp_path / "text").write_bytes(text)  # 29 pieces of 1,024 bytes, and a rest
    sample = b"".join(text[1024 * piece :][:1024] for piece in (0, 4, 9, 14, 19, 24))
    result = evaluate(make_model(), make_tokens(50), TOKENIZER, tmp_path / "text")
    assert result["baseline_sample_bytes"] == 6 * 1024
    assert result["baseline"]["bz2_bits_per_byte"] == 8 * len(bz2.compress(sample)) / len(sample)


def test_a_text_shorter_than_the_context_has_no_sample():
    assert sample_starts(np.zeros(20), 32, 10) is None
    assert num_targets(np.zeros(20), 32, 10) == 19
