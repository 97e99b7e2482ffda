"""Attention with fewer passes over the memory, and causal attention in blocks of queries for bfloat16 on a CPU.

The queries of a block attend only to the keys up to its end, which saves almost half of the products, and the scores of
a block stay in the cache. torch's fused kernel takes more than twice the time there, see docs/performance.md. The
forward and the backward pass are custom operators, because torch.compile would recompute queries and keys per block.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minlm.transformer import attention
from minlm.transformer.attention import (
    LayerCache,
    RotaryPositionalEmbedding,
    causal_mask,
    scaled_dot_product_attention,
)

SMALLEST_BLOCK = 64  # queries; a block has up to twice as many, or the whole sequence if that is shorter


def blockwise_causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q kᵀ / sqrt(d_k)) v, where position i attends to positions 0 … i.

    Scores are rounded to the dtype of q, as in the plain form; their softmax is computed in float32. The attention
    weights, about seq² / 2 numbers for each head, are kept for the backward pass.

    Args:
        q: queries (..., seq, d_k), bfloat16 or float32, with at least one leading dimension and one position.
        k: keys (..., seq, d_k).
        v: values (..., seq, d_k).

    Returns:
        (..., seq, d_k), of the dtype of q.
    """
    q = q * (1 / math.sqrt(q.shape[-1]))
    heads: Tensor = _forward(*(x.flatten(0, -3).contiguous() for x in (q, k, v)), torch.is_grad_enabled())[0]
    return heads.view_as(v)


@torch.library.custom_op("minlm::causal_attention", mutates_args=())
def _forward(q: Tensor, k: Tensor, v: Tensor, keep: bool) -> list[Tensor]:
    """Scaled queries, keys and values (batch, seq, d_k) → the same shape and, if `keep`, the weights of each block."""
    heads, all_weights = torch.empty_like(v), []
    with torch.autocast(q.device.type, enabled=False):
        for start, end in _blocks(q.shape[1]):
            scores = q[:, start:end] @ k[:, :end].transpose(1, 2)  # (batch, block, end)
            hidden = torch.ones(end - start, end - start, dtype=torch.bool, device=q.device).triu(1)
            scores[:, :, start:].masked_fill_(hidden, -math.inf)
            weights = torch.softmax(scores, dim=-1)
            heads[:, start:end] = weights @ v[:, :end]
            if keep:
                all_weights.append(weights)
    return [heads, *all_weights]


@torch.library.custom_op("minlm::causal_attention_backward", mutates_args=())
def _backward(
    grad_heads: Tensor, q: Tensor, k: Tensor, v: Tensor, all_weights: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the scaled queries, the keys and the values; the latter two are added up in float32."""
    grad_q = torch.empty_like(q)
    grad_k, grad_v = torch.zeros_like(k, dtype=torch.float32), torch.zeros_like(v, dtype=torch.float32)
    with torch.autocast(q.device.type, enabled=False):
        for (start, end), weights in zip(_blocks(q.shape[1]), all_weights, strict=True):
            grad = grad_heads[:, start:end]
            grad_v[:, :end] += weights.transpose(1, 2) @ grad
            grad_weights = grad @ v[:, :end].transpose(1, 2)
            grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
            grad_q[:, start:end] = grad_scores @ k[:, :end]
            grad_k[:, :end] += grad_scores.transpose(1, 2) @ q[:, start:end]
    return grad_q, grad_k.to(k.dtype), grad_v.to(v.dtype)


def _blocks(length: int) -> Iterator[tuple[int, int]]:
    """Start and end of each block of queries."""
    size = -(-length // max(1, length // SMALLEST_BLOCK))
    return ((start, min(start + size, length)) for start in range(0, length, size))


@_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, keep: bool) -> list[Tensor]:
    blocks = _blocks(q.shape[1]) if keep else iter(())
    weights = (q.new_empty(q.shape[0], end - start, end) for start, end in blocks)
    return [torch.empty_like(v), *weights]


@_backward.register_fake
def _(grad_heads: Tensor, q: Tensor, k: Tensor, v: Tensor, all_weights: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    ctx.set_materialize_grads(False)  # the weights have none
    ctx.save_for_backward(*inputs[:3], *output[1:])


def _gradients(ctx: Any, grads: list[Tensor]) -> tuple[Tensor | None, ...]:
    q, k, v, *all_weights = ctx.saved_tensors
    return *_backward(grads[0].contiguous(), q, k, v, all_weights), None


_forward.register_autograd(_gradients, setup_context=_keep)


class MultiHeadSelfAttention(attention.MultiHeadSelfAttention):
    """`attention.MultiHeadSelfAttention` with RoPE on halves and, with `flash_attention`, a fused kernel."""

    flash_attention = False

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: LayerCache | None = None) -> Tensor:
        """As in the plain form."""
        if cache is None and self.rope is not None:
            weights = (evens_first(project.weight, self.num_heads) for project in (self.q_proj, self.k_proj))
            q, k = (rotate_halves(self.rope, self.split_heads(F.linear(x, weight))) for weight in weights)
            v = self.split_heads(self.v_proj(x))
        else:  # for few tokens, reordering the rows would cost more than it saves
            q, k, v = (self.split_heads(project(x)) for project in (self.q_proj, self.k_proj, self.v_proj))
        if cache is not None:
            if self.rope is not None:
                q, k = self.rope(
                    torch.stack((q, k)), cache.positions
                )  # one call, because for few tokens calls are the cost
            k, v = cache.append(k, v)
        if self.flash_attention:
            heads = _fused_attention(q, k, v, mask if cache is not None else None)
        else:
            mask = causal_mask(x.shape[-2], x.device) if mask is None else mask
            heads = scaled_dot_product_attention(q, k, v, mask)
        return self.output_proj(heads.transpose(-3, -2).flatten(-2))


def _fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """torch's kernel where it is fast, else blocks; causal if there is no mask."""
    if mask is None and q.device.type == "cpu" and q.dtype == torch.bfloat16:
        return blockwise_causal_attention(q, k, v)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)


def evens_first(weight: Tensor, num_heads: int) -> Tensor:
    """Reorder the rows of a projection's weight: in each head, the even rows first, then the odd ones.

    The coordinates of queries and keys are then in that order, which changes no score, and RoPE's pairs are the two
    halves of a vector, which a processor rotates many at a time.
    """
    return weight.unflatten(0, (num_heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def rotate_halves(rope: RotaryPositionalEmbedding, x: Tensor) -> Tensor:
    """`rope(x)` for x (..., seq, d_k) whose coordinates are in the order of `evens_first`."""
    cos, sin = rope.cos[: x.shape[-2]], rope.sin[: x.shape[-2]]  # (seq, d_k / 2)
    even, odd = x.chunk(2, dim=-1)
    return torch.cat((even * cos - odd * sin, even * sin + odd * cos), dim=-1).to(x.dtype)
