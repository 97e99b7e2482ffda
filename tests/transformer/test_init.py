"""What a model knows before its first step: counts by brute force, the fit against its optimum, where heads look."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minlm.errors import MinlmError
from minlm.transformer import TransformerLM, init
from minlm.transformer.init import count_pairs, fit_bigram, look_back, start_from_bigram

SHAPE = {"vocab_size": 30, "context_length": 24, "d_model": 48, "num_layers": 2, "num_heads": 4, "d_ff": 40}


def zipf_tokens(number: int, vocab_size: int = 30, seed: int = 0) -> np.ndarray:
    return np.minimum(np.random.default_rng(seed).zipf(1.3, number), vocab_size) - 1


@pytest.mark.parametrize("block", [7, 1 << 22])
def test_pairs_are_counted_across_blocks(monkeypatch, block):
    monkeypatch.setattr(init, "PAIRS_PER_BLOCK", block)
    monkeypatch.setattr(init, "MAX_BLOCKS", 1000)
    tokens = zipf_tokens(3000).astype(np.uint16)
    counts = count_pairs(tokens, 30)
    ids = tokens.tolist()
    expected = Counter(itertools.pairwise(ids))
    assert {
        tuple(pair): count for pair, count in zip(counts.indices().T.tolist(), counts.values().tolist(), strict=True)
    } == expected


def test_of_a_long_text_blocks_of_all_its_parts_are_counted(monkeypatch):
    monkeypatch.setattr(init, "PAIRS_PER_BLOCK", 10)
    monkeypatch.setattr(init, "MAX_BLOCKS", 4)
    counts = count_pairs(np.repeat(np.arange(10), 100), 10)
    assert 20 <= counts.sum() <= 40
    assert {0, 9} - set(counts.indices()[0].tolist()) == {9}
    assert counts.indices()[0].max() >= 6


@pytest.mark.parametrize("logits_per_step", [1 << 24, 30 * 12])
def test_the_fit_reaches_the_entropy_of_the_pairs(monkeypatch, logits_per_step):
    """With enough dimensions, a bigram model can be exact; its loss is then the conditional entropy of the pairs."""
    monkeypatch.setattr(init, "LOGITS_PER_STEP", logits_per_step)
    counts = count_pairs(zipf_tokens(20_000), 30)
    dense = counts.to_dense()
    joint = dense / dense.sum()
    entropy = -(joint * (dense / dense.sum(1, keepdim=True)).clamp(min=1e-30).log()).sum()
    embeddings, head = fit_bigram(counts, d_model=48)
    logits = F.rms_norm(embeddings, (48,), eps=1e-5) @ head.T
    assert (joint.sum(1) * logits.logsumexp(1)).sum() - (joint * logits).sum() < entropy + 0.05


def test_the_fit_is_the_models_own_loss_without_layers():
    tokens = zipf_tokens(5000)
    losses: list[float] = []
    embeddings, head = fit_bigram(count_pairs(tokens, 30), 48, on_step=losses.append)
    model = TransformerLM(**SHAPE, embedding_std=2.5)
    start_from_bigram(model, embeddings, head)
    with torch.no_grad():
        for layer in model.layers:
            layer.attn.output_proj.weight.zero_()
            layer.ffn.w2.weight.zero_()
    windows = torch.from_numpy(np.lib.stride_tricks.sliding_window_view(tokens, 25)[::24].astype(np.int64))
    assert model.loss(windows[:, :-1], windows[:, 1:]).item() == pytest.approx(losses[-1], abs=0.02)
    assert len(losses) == init.STEPS
    assert losses[-1] < losses[0]


def test_the_fit_depends_on_its_seed_only():
    counts = count_pairs(zipf_tokens(2000), 30)
    torch.manual_seed(5)
    first = fit_bigram(counts, 8, seed=1)
    after = torch.rand(1)
    assert all(torch.equal(a, b) for a, b in zip(first, fit_bigram(counts, 8, seed=1), strict=True))
    assert not torch.equal(first[0], fit_bigram(counts, 8, seed=2)[0])
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))


def test_a_fit_of_another_shape_is_refused():
    with pytest.raises(MinlmError, match="30 tokens of dimension 8, but the model has 30 of 48"):
        start_from_bigram(TransformerLM(**SHAPE), torch.zeros(30, 8), torch.zeros(30, 8))


def test_heads_look_one_two_and_three_tokens_back():
    model = TransformerLM(**SHAPE)
    look_back(model)
    attention = model.layers[0].attn
    x = model.layers[0].ln1(model.token_embeddings(torch.randint(30, (5, 24))))
    q, k = (attention.rope(attention.split_heads(project(x))) for project in (attention.q_proj, attention.k_proj))
    scores = (q @ k.mT / 12**0.5).masked_fill(torch.ones(24, 24).triu(1).bool(), -torch.inf)
    weights = torch.softmax(scores, dim=-1)[:, :, 10:]  # (texts, heads, queries, keys)
    distances = torch.arange(10, 24)[:, None] - torch.arange(24)
    for head, distance in enumerate((1, 2, 3)):
        at = weights[:, head][:, distances == distance]
        assert (weights[:, head].amax(-1) == at).float().mean() > 0.95
        assert at.mean() > 0.5
    assert weights[:, 3][:, distances == 1].mean() < 0.3


@pytest.mark.parametrize(
    "change", [{"no_rope": True}, {"context_length": 1}, {"context_length": 2}, {"num_heads": 1}, {"num_heads": 24}]
)
def test_looking_back_works_in_any_shape(change):
    model = TransformerLM(**SHAPE | change)
    look_back(model)
    assert all(weight.isfinite().all() for weight in model.parameters())
