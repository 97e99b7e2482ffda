"""The parts of a Transformer that work on one position at a time: linear maps, embeddings, norms, feed-forward.

Weights start as normals, cut at three standard deviations; see `Linear` and `Embedding`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Device = torch.device | str | None


class Linear(nn.Module):
    """y = x Wᵀ, without a bias.

    The weight (out_features, in_features) starts as a normal of variance 2 / (in_features + out_features)
    (Glorot & Bengio 2010), cut at ±3 standard deviations.
    """

    def __init__(self, in_features: int, out_features: int, device: Device = None, dtype: torch.dtype | None = None):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features, device=device, dtype=dtype))
        _truncated_normal_(self.weight, std=(2.0 / (in_features + out_features)) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) → (..., out_features)."""
        return F.linear(x, self.weight)


class Embedding(nn.Module):
    """A table with one vector for each token id.

    The table (num_embeddings, embedding_dim) starts as a normal of standard deviation `std`, cut at ±3 std.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, std: float = 1.0, device: Device = None,
        dtype: torch.dtype | None = None,
    ):  # fmt: skip
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_embeddings, embedding_dim, device=device, dtype=dtype))
        _truncated_normal_(self.weight, std)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Integer ids (...) → vectors (..., embedding_dim)."""
        return F.embedding(token_ids, self.weight)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) · weight over the last dimension (Zhang & Sennrich 2019).

    Computed in float32, because squares overflow and lose digits in 16 bits; the result has the input's dtype. The
    weight (d_model,) starts at one.
    """

    def __init__(self, d_model: int, eps: float = 1e-5, device: Device = None, dtype: torch.dtype | None = None):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """(..., d_model) → (..., d_model)."""
        x32 = x.float()
        scale = torch.rsqrt(x32.square().mean(dim=-1, keepdim=True) + self.eps)
        return (x32 * scale * self.weight).to(x.dtype)


class SwiGLU(nn.Module):
    """Gated feed-forward network, w2(silu(w1 x) · w3 x) (Shazeer 2020): w1 gates, w3 projects up, w2 down."""

    def __init__(self, d_model: int, d_ff: int, device: Device = None, dtype: torch.dtype | None = None):
        super().__init__()
        self.w1 = Linear(d_model, d_ff, device, dtype)
        self.w2 = Linear(d_ff, d_model, device, dtype)
        self.w3 = Linear(d_model, d_ff, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d_model) → (..., d_model)."""
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


def _truncated_normal_(weight: Tensor, std: float) -> None:
    nn.init.trunc_normal_(weight, mean=0.0, std=std, a=-3 * std, b=3 * std)
