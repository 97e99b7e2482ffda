"""Parts that a model can have instead of the usual ones, to show what those are good for."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minlm.transformer.modules import Device, Linear


class SiLUFFN(nn.Module):
    """Feed-forward network without a gate, w2(silu(w1 x)): an ablation, at equal d_ff with 2/3 of the weights."""

    def __init__(self, d_model: int, d_ff: int, device: Device = None, dtype: torch.dtype | None = None):
        super().__init__()
        self.w1 = Linear(d_model, d_ff, device, dtype)
        self.w2 = Linear(d_ff, d_model, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d_model) → (..., d_model)."""
        return self.w2(F.silu(self.w1(x)))
