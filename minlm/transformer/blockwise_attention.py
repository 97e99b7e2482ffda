"""Causal attention by plain matrix products, a block of queries at a time, for bfloat16 on a CPU.

Queries of one block only meet the keys up to its end, which saves almost half of the products, and the scores of a
block stay in the cache. torch's fused kernel needs up to twice the time there, see docs/performance.md.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 64  # queries


def blockwise_causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q kᵀ / sqrt(d_k)) v, where position i attends to positions 0 … i.

    Products are in the dtype of q, the softmax is in float32. For the backward pass the weights of the softmax are
    kept in the dtype of q.

    Args:
        q: queries (..., seq, d_k), any floating dtype.
        k: keys (..., seq, d_k).
        v: values (..., seq, d_v).

    Returns:
        (..., seq, d_v), of the dtype of q.
    """
    with torch.autocast(q.device.type, enabled=False):
        heads: Tensor = _BlockwiseAttention.apply(q, k, v)
    return heads


class _BlockwiseAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scale = 1 / math.sqrt(q.shape[-1])
        all_weights, heads = [], []
        for start, end in _blocks(q.shape[-2]):
            scores = (q[..., start:end, :] @ k[..., :end, :].transpose(-2, -1)).float() * scale
            visible = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril(start)
            weights = torch.softmax(scores.masked_fill(~visible, -math.inf), dim=-1).to(q.dtype)
            heads.append(weights @ v[..., :end, :])
            all_weights.append(weights)
        ctx.save_for_backward(q, k, v, *all_weights)
        return torch.cat(heads, dim=-2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_heads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, *all_weights = ctx.saved_tensors
        scale = 1 / math.sqrt(q.shape[-1])
        grad_q = []
        grad_k, grad_v = torch.zeros_like(k, dtype=torch.float32), torch.zeros_like(v, dtype=torch.float32)
        for (start, end), weights in zip(_blocks(q.shape[-2]), all_weights, strict=True):
            grad = grad_heads[..., start:end, :]
            grad_v[..., :end, :] += weights.transpose(-2, -1) @ grad
            grad_weights = (grad @ v[..., :end, :].transpose(-2, -1)).float()
            weighted = weights.float() * grad_weights
            grad_scores = weighted - weights.float() * weighted.sum(dim=-1, keepdim=True)  # through the softmax
            grad_scores = (grad_scores * scale).to(q.dtype)
            grad_q.append(grad_scores @ k[..., :end, :])
            grad_k[..., :end, :] += grad_scores.transpose(-2, -1) @ q[..., start:end, :]
        return torch.cat(grad_q, dim=-2), grad_k.to(k.dtype), grad_v.to(v.dtype)


def _blocks(length: int) -> Iterator[tuple[int, int]]:
    """Start and end of each block of queries."""
    return ((start, min(start + BLOCK, length)) for start in range(0, length, BLOCK))
