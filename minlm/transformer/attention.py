"""Attention: the part of a Transformer in which positions read from each other."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from minlm.errors import MinlmError
from minlm.transformer.checks import check_heads
from minlm.transformer.modules import Device, Linear


class RotaryPositionalEmbedding(nn.Module):
    """RoPE (Su et al. 2021): rotates the pair (2i, 2i+1) of a vector at position p by the angle p · theta^(-2i/d_k).

    The dot product of a rotated query and a rotated key depends only on how far apart their positions are.

    Args:
        theta: base of the wavelengths; 10000 is usual.
        d_k: dimension of a query or key; `MinlmError` if it is odd.
        max_seq_len: positions 0 … max_seq_len - 1 can be rotated.
    """

    def __init__(self, theta: float, d_k: int, max_seq_len: int, device: Device = None):
        super().__init__()
        if d_k % 2 != 0:
            raise MinlmError(
                f"RoPE needs an even head dimension, not {d_k}: make d_model / num_heads even, or use no_rope."
            )
        # Angles in float64: at position 1000, float32 would be off by several 1e-5.
        frequencies = theta ** (-torch.arange(0, d_k, 2, device="cpu", dtype=torch.float64) / d_k)
        angles = torch.outer(
            torch.arange(max_seq_len, device="cpu", dtype=torch.float64), frequencies
        )  # (max_seq_len, d_k / 2)
        self.cos: Tensor
        self.sin: Tensor
        self.register_buffer("cos", angles.cos().float().to(device), persistent=False)
        self.register_buffer("sin", angles.sin().float().to(device), persistent=False)

    def forward(self, x: Tensor, token_positions: Tensor | None = None) -> Tensor:
        """Rotate x (..., seq, d_k); the result has its shape and dtype.

        `token_positions` are integers that broadcast to (..., seq); without them the positions are 0 … seq - 1.
        """
        positions = slice(x.shape[-2]) if token_positions is None else token_positions
        cos, sin = self.cos[positions], self.sin[positions]  # (..., seq, d_k / 2)
        even, odd = x[..., 0::2], x[..., 1::2]
        rotated = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)  # (..., seq, d_k / 2, 2)
        return rotated.flatten(-2).to(x.dtype)


def scaled_dot_product_attention(Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(Q Kᵀ / sqrt(d_k)) V (Vaswani et al. 2017): each query's weighted mean of the values, (..., queries, d_v).

    Args:
        Q: queries (..., queries, d_k), any leading dimensions.
        K: keys (..., keys, d_k).
        V: values (..., keys, d_v).
        mask: boolean, broadcasts to (..., queries, keys); True where the query attends to the key.
    """
    scores = (Q / math.sqrt(Q.shape[-1])) @ K.transpose(-2, -1)  # (..., queries, keys)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32)  # each row sums to 1
    return weights.to(V.dtype) @ V


def causal_mask(length: int, device: Device = None) -> Tensor:
    """Boolean (length, length): position i (row) attends to positions 0 … i."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


class LayerCache:
    """Keys and values (batch, num_heads, seq, d_k) of the positions that one attention layer has processed."""

    keys: Tensor | None = None
    values: Tensor | None = None
    positions: Tensor | None = None  # int64 (new,), of the tokens that come next; set by `KeyValueCache.begin`

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add the new tokens' keys and values; return all so far."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat((self.keys, keys), dim=-2), torch.cat((self.values, values), dim=-2)
        self.keys, self.values = keys, values
        return keys, values


class KeyValueCache:
    """A `LayerCache` for each layer of a model: a new token then costs one position, not the whole text again."""

    def __init__(self, num_layers: int):
        self.layers: Sequence[LayerCache] = [LayerCache() for _ in range(num_layers)]
        self.length = 0

    def begin(self, new: int, device: Device = None) -> Tensor:
        """Reserve positions for `new` tokens of each text; return their attention mask (new, length)."""
        start, self.length = self.length, self.length + new
        for layer in self.layers:
            layer.positions = torch.arange(start, self.length, device=device)
        return torch.arange(self.length, device=device) <= torch.arange(start, self.length, device=device)[:, None]


class MultiHeadSelfAttention(nn.Module):
    """Causal self-attention with `num_heads` heads of dimension d_k = d_model / num_heads.

    Args:
        d_model: dimension of a position's vector; `MinlmError` if `num_heads` does not divide it.
        num_heads: number of heads.
        rope: rotates queries and keys; without it only the causal mask tells the order (an ablation).
    """

    def __init__(
        self, d_model: int, num_heads: int, rope: RotaryPositionalEmbedding | None = None, device: Device = None,
        dtype: torch.dtype | None = None,
    ):  # fmt: skip
        super().__init__()
        check_heads(d_model, num_heads)
        self.num_heads, self.rope = num_heads, rope
        projections = (Linear(d_model, d_model, device, dtype) for _ in range(4))
        self.q_proj, self.k_proj, self.v_proj, self.output_proj = projections

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: LayerCache | None = None) -> Tensor:
        """(batch, seq, d_model) → the same shape.

        Args:
            x: one vector for each position.
            mask: boolean (..., seq, keys), True where a position attends; without it, the causal mask.
            cache: keys and values of earlier positions, which x continues; those of x are added to it.
        """
        q, k, v = (self.split_heads(project(x)) for project in (self.q_proj, self.k_proj, self.v_proj))
        if self.rope is not None:
            positions = None if cache is None else cache.positions
            q, k = self.rope(q, positions), self.rope(k, positions)
        if cache is not None:
            k, v = cache.append(k, v)
        if mask is None:
            mask = causal_mask(k.shape[-2], x.device)[-x.shape[-2] :]
        heads = scaled_dot_product_attention(q, k, v, mask)  # (batch, num_heads, seq, d_k)
        return self.output_proj(heads.transpose(-3, -2).flatten(-2))  # the heads side by side: (batch, seq, d_model)

    def split_heads(self, x: Tensor) -> Tensor:
        """(batch, seq, d_model) → (batch, num_heads, seq, d_k)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2)
