"""The part of a transformer that lets positions look at each other."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minlm.errors import MinlmError
from minlm.fast.transformer.attention import blockwise_causal_attention
from minlm.generation.cache import LayerCache
from minlm.transformer.modules import Linear


class RotaryPositionalEmbedding(nn.Module):
    """RoPE (Su et al. 2021): turns the pair (2i, 2i+1) of a vector at position p by the angle p · theta^(-2i/d_k).

    Scores of rotated queries and keys depend only on how far apart the two positions are.

    Args:
        theta: base of the wavelengths; 10000 is usual.
        d_k: dimension of a query or key; even.
        max_seq_len: positions 0 … max_seq_len - 1 can be rotated.
    """

    def __init__(self, theta: float, d_k: int, max_seq_len: int, device: torch.device | str | None = None):
        super().__init__()
        if d_k % 2 != 0:
            raise MinlmError(
                f"RoPE rotates pairs, so the head dimension must be even, not {d_k}: "
                "choose d_model / num_heads even, or no_rope."
            )
        # Angles in float64: at position 1000 float32 would already be off by 1e-5.
        frequencies = theta ** (-torch.arange(0, d_k, 2, device="cpu", dtype=torch.float64) / d_k)
        angles = torch.outer(torch.arange(max_seq_len, dtype=torch.float64), frequencies)  # (max_seq_len, d_k / 2)
        self.cos: Tensor
        self.sin: Tensor
        self.register_buffer("cos", angles.cos().float().to(device), persistent=False)
        self.register_buffer("sin", angles.sin().float().to(device), persistent=False)

    def forward(self, x: Tensor, token_positions: Tensor | None = None) -> Tensor:
        """Rotate x (..., seq, d_k).

        `token_positions` are integers that broadcast to (..., seq); without them the positions are 0 … seq - 1.
        """
        if token_positions is None:
            cos, sin = self.cos[: x.shape[-2]], self.sin[: x.shape[-2]]  # (seq, d_k / 2)
        else:
            cos, sin = self.cos[token_positions], self.sin[token_positions]  # (..., seq, d_k / 2)
        rotated = torch.stack(_turn(x[..., 0::2], x[..., 1::2], cos, sin), dim=-1)  # (..., seq, d_k / 2, 2)
        return rotated.flatten(-2).to(x.dtype)

    def rotate_halves(self, x: Tensor) -> Tensor:
        """`forward` for x (..., seq, d_k) with the coordinates in another order, see `evens_first`."""
        cos, sin = self.cos[: x.shape[-2]], self.sin[: x.shape[-2]]  # (seq, d_k / 2)
        even, odd = x.chunk(2, dim=-1)
        return torch.cat(_turn(even, odd, cos, sin), dim=-1).to(x.dtype)


def _turn(even: Tensor, odd: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    return even * cos - odd * sin, even * sin + odd * cos


def evens_first(weight: Tensor, num_heads: int) -> Tensor:
    """The rows of a projection's weight in another order: of each head the even ones, then the odd ones.

    The coordinates of queries and keys then are in that order, which no score depends on if both are; and RoPE's pairs
    are two halves of a vector, which a processor turns many at a time.
    """
    return weight.unflatten(0, (num_heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def scaled_dot_product_attention(Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(Q Kᵀ / sqrt(d_k)) V (Vaswani et al. 2017).

    Args:
        Q: queries (..., queries, d_k), any leading dimensions.
        K: keys (..., keys, d_k).
        V: values (..., keys, d_v).
        mask: boolean, broadcasts to (..., queries, keys); True means that the query attends to the key.

    Returns:
        (..., queries, d_v).
    """
    scores = (Q / math.sqrt(Q.shape[-1])) @ K.transpose(-2, -1)  # (..., queries, keys)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32)  # each row sums to 1
    return weights.to(V.dtype) @ V


class MultiHeadSelfAttention(nn.Module):
    """Causal self-attention with `num_heads` heads of dimension d_model / num_heads.

    Args:
        d_model: dimension of a position's vector, divisible by `num_heads`.
        num_heads: number of heads.
        rope: rotates queries and keys; without it positions are not told apart (an ablation).
        flash_attention: use torch's fused kernel instead of `scaled_dot_product_attention` here, or, for bfloat16 on a
            CPU, `blockwise_causal_attention`.

    Raises:
        MinlmError: d_model is not divisible by num_heads.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        rope: RotaryPositionalEmbedding | None = None,
        flash_attention: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if d_model % num_heads != 0:
            raise MinlmError(f"d_model ({d_model}) must be divisible by num_heads ({num_heads}).")
        self.num_heads = num_heads
        self.rope = rope
        self.flash_attention = flash_attention
        self.q_proj = Linear(d_model, d_model, device, dtype)
        self.k_proj = Linear(d_model, d_model, device, dtype)
        self.v_proj = Linear(d_model, d_model, device, dtype)
        self.output_proj = Linear(d_model, d_model, device, dtype)

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: LayerCache | None = None) -> Tensor:
        """(batch, seq, d_model) → the same shape; each position sees itself and what is before it.

        Args:
            x: one vector for each position.
            mask: the causal mask (seq, seq), if the caller has it at hand; with a cache, the mask it gave.
            cache: keys and values of earlier positions, which x continues.
        """
        if cache is None and self.rope is not None:
            weights = (evens_first(project.weight, self.num_heads) for project in (self.q_proj, self.k_proj))
            q, k = (self.rope.rotate_halves(self._split(F.linear(x, weight))) for weight in weights)
            v = self._split(self.v_proj(x))
        else:  # for few tokens, rows in another order would cost more than they save
            q, k, v = (self._split(project(x)) for project in (self.q_proj, self.k_proj, self.v_proj))
        if cache is not None:
            if self.rope is not None:
                q, k = self.rope(torch.stack((q, k)), cache.positions)  # one call: few tokens cost little, calls do
            k, v = cache.append(k, v)
        if self.flash_attention:
            heads = _fused_attention(q, k, v, mask if cache is not None else None)
        else:
            mask = causal_mask(x.shape[-2], x.device) if mask is None else mask
            heads = scaled_dot_product_attention(q, k, v, mask)
        return self.output_proj(heads.transpose(-3, -2).flatten(-2))  # heads side by side: (batch, seq, d_model)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2)  # (…, seq, d_model) → (…, heads, seq, d_k)


def _fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """torch's kernel, where it is fast; without a mask, causal."""
    if mask is None and q.device.type == "cpu" and q.dtype == torch.bfloat16:
        return blockwise_causal_attention(q, k, v)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)


def causal_mask(length: int, device: torch.device | str | None = None) -> Tensor:
    """Boolean (length, length): position i (row) attends to positions 0 … i."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()
