"""The optimizer step and gradient clipping in a few kernels for all parameters together."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from minlm.transformer import optim


class AdamW(optim.AdamW):
    """`optim.AdamW` in one pass over the memory, by torch's fused kernel.

    As single operations the update took a tenth of a training step of a small model.
    """

    def __init__(self, *args: Any, **keywords: Any):
        super().__init__(*args, **keywords)
        for group in self.param_groups:
            group["fused"] = True  # tells load_state_dict that the steps belong on the parameters' device

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in torch, also for a state of the plain form."""
        groups = [{**group, "fused": True} for group in state_dict["param_groups"]]
        super().load_state_dict({**state_dict, "param_groups": groups})

    def update(self, params: list[Tensor], group: dict[str, Any]) -> None:
        """As in the plain form."""
        if not params:
            return
        grads = [p.grad for p in params if p.grad is not None]
        means, squares, steps = ([self.state[p][name] for p in params] for name in ("exp_avg", "exp_avg_sq", "step"))
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            params, grads, means, squares, [], steps, lr=group["lr"], beta1=group["betas"][0], beta2=group["betas"][1],
            weight_decay=group["weight_decay"], eps=group["eps"], amsgrad=False, maximize=False,
        )  # fmt: skip


@torch.no_grad()
def gradient_clipping(parameters: Iterable[Tensor], max_l2_norm: float) -> Tensor:
    """`optim.gradient_clipping` with one kernel call for all gradients; it never waits for the device."""
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return torch.zeros(())
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    torch._foreach_mul_(grads, torch.clamp(max_l2_norm / (norm + 1e-6), max=1.0))
    return norm
