"""Linear, Embedding, RMSNorm and the feed-forward parts against torch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minlm.transformer import Embedding, Linear, RMSNorm, SiLUFFN, SwiGLU


def test_linear_is_torch_linear_without_bias():
    ours, theirs = Linear(7, 5), nn.Linear(7, 5, bias=False)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 7)
    torch.testing.assert_close(ours(x), theirs(x))


def test_embedding_is_torch_embedding():
    ours, theirs = Embedding(11, 5), nn.Embedding(11, 5)
    theirs.load_state_dict(ours.state_dict())
    ids = torch.tensor([[0, 10], [3, 3]])
    assert torch.equal(ours(ids), theirs(ids))


def test_rmsnorm_is_torch_rmsnorm():
    ours, theirs = RMSNorm(16, eps=1e-5), nn.RMSNorm(16, eps=1e-5)
    nn.init.normal_(ours.weight)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 3, 16) * 10
    torch.testing.assert_close(ours(x), theirs(x))


def test_rmsnorm_computes_in_float32():
    norm = RMSNorm(4, dtype=torch.float16)
    x = torch.tensor([[3e4, -3e4, 3e4, -3e4]], dtype=torch.float16)  # squares overflow float16
    assert norm(x).dtype == torch.float16
    torch.testing.assert_close(norm(x), torch.tensor([[1, -1, 1, -1]], dtype=torch.float16))


def test_swiglu_and_siluffn_by_their_formulas():
    x = torch.randn(2, 3, 8)
    gated = SwiGLU(8, 20)
    w1, w2, w3 = gated.w1.weight, gated.w2.weight, gated.w3.weight
    torch.testing.assert_close(gated(x), (F.silu(x @ w1.T) * (x @ w3.T)) @ w2.T)
    plain = SiLUFFN(8, 20)
    torch.testing.assert_close(plain(x), F.silu(x @ plain.w1.weight.T) @ plain.w2.weight.T)
    assert [tuple(p.shape) for p in gated.parameters()] == [(20, 8), (8, 20), (20, 8)]


@pytest.mark.parametrize(
    ("weight", "std"),
    [
        (lambda: Linear(300, 500).weight, (2 / 800) ** 0.5),
        (lambda: Embedding(500, 300).weight, 1.0),
        (lambda: Embedding(500, 300, std=0.02).weight, 0.02),
    ],
)
def test_weights_start_as_a_normal_cut_at_three_standard_deviations(weight, std):
    torch.manual_seed(0)
    values = weight().detach()
    assert values.abs().max() <= 3 * std
    assert values.abs().max() > 2.9 * std
    assert abs(values.mean()) < 0.02 * std
    assert abs(values.std() / std - 0.9866) < 0.01  # standard deviation of a unit normal cut at ±3
