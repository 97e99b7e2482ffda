"""Attention by blocks of queries against torch's kernel."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from minlm.fast.transformer import attention as fast_attention
from minlm.fast.transformer.attention import blockwise_causal_attention, evens_first, rotate_halves
from minlm.transformer import RotaryPositionalEmbedding, scaled_dot_product_attention
from minlm.transformer.attention import causal_mask

LENGTHS = [1, 63, 96, 127, 128, 131, 300]  # one block, blocks of equal size, a last one that is smaller


def heads_and_gradients(attention, q: Tensor, k: Tensor, v: Tensor, grad: Tensor) -> list[Tensor]:
    inputs = [x.clone().requires_grad_() for x in (q, k, v)]
    heads = attention(*inputs)
    heads.backward(grad)
    return [heads.detach(), *(x.grad for x in inputs)]


def sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


@pytest.mark.parametrize("length", LENGTHS)
def test_equals_torch(length):
    inputs = torch.randn(4, 2, 3, length, 8).unbind()
    for ours, theirs in zip(
        heads_and_gradients(blockwise_causal_attention, *inputs), heads_and_gradients(sdpa, *inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return scaled_dot_product_attention(q, k, v, causal_mask(q.shape[-2]))


@pytest.mark.parametrize("scale", [1, 4])
def test_bfloat16_is_as_exact_as_the_written_out_form(scale):
    inputs = torch.randn(4, 2, 3, 200, 32, generator=torch.Generator().manual_seed(0)).unbind()
    rounded = [inputs[0].mul(scale).bfloat16(), *(x.bfloat16() for x in inputs[1:])]
    exact = heads_and_gradients(sdpa, *(x.float() for x in rounded))
    errors = [
        [(got.float() - want).norm() for got, want in zip(heads_and_gradients(way, *rounded), exact, strict=True)]
        for way in (blockwise_causal_attention, written_out)
    ]
    for ours, theirs in zip(*errors, strict=True):
        assert ours < 1.25 * theirs


def test_without_gradients_the_result_is_the_same():
    inputs = torch.randn(3, 2, 3, 150, 8).unbind()
    with torch.inference_mode():
        torch.testing.assert_close(blockwise_causal_attention(*inputs), sdpa(*inputs), atol=2e-5, rtol=1e-4)


def test_transposed_inputs_and_a_gradient_that_is_not_contiguous():
    inputs = [x.transpose(1, 2) for x in torch.randn(4, 2, 70, 3, 8).unbind()]
    for ours, theirs in zip(
        heads_and_gradients(blockwise_causal_attention, *inputs), heads_and_gradients(sdpa, *inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_operator_is_what_torch_compile_is_told_about_it():
    inputs = torch.randn(3, 2, 130, 8, requires_grad=True).unbind()
    torch.library.opcheck(fast_attention._forward, (*inputs, True))


def test_rope_of_halves_is_that_of_pairs_in_another_order():
    rope = RotaryPositionalEmbedding(10000.0, 8, 32)
    x = torch.randn(2, 3, 20, 8)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    torch.testing.assert_close(rotate_halves(rope, x[..., order]), rope(x)[..., order])


def test_evens_first_orders_the_rows_of_each_head():
    weight = torch.arange(12.0).unsqueeze(1).expand(12, 5)
    ordered = evens_first(weight, num_heads=2)
    assert ordered[:, 0].tolist() == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]
