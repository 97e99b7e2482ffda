"""The optimizer, gradient clipping and the learning rate over time."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class AdamW(torch.optim.Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2) and bias correction.

    For each weight w with gradient g, in step t:

        w ← w - lr · weight_decay · w
        m ← β1 m + (1 - β1) g
        v ← β2 v + (1 - β2) g²
        w ← w - lr · m / (1 - β1ᵗ) / (sqrt(v / (1 - β2ᵗ)) + eps)

    m and v start at zero; the divisions by 1 - βᵗ undo their pull towards it. torch's fused kernel computes all four
    lines in one pass over the memory; as eight passes they took a tenth of a training step of a small model.

    Args:
        params: parameters, or groups of them, as for any torch optimizer.
        lr: learning rate; may be set in `param_groups` before each step.
        betas: decay of the running means of the gradient and of its square.
        eps: keeps the division finite.
        weight_decay: each step takes lr · weight_decay of a weight away, apart from the gradient.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        if lr < 0 or eps < 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"out of range: {lr=}, {betas=}, {eps=}, {weight_decay=}")
        # "fused" tells load_state_dict that the steps belong on the parameters' device.
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "fused": True}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; returns the closure's loss if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._update([p for p in group["params"] if p.grad is not None], group)
        return loss

    def _update(self, params: list[Tensor], group: dict[str, Any]) -> None:
        if not params:
            return
        for p in params:
            if not self.state[p]:
                step = torch.zeros((), device=p.device)
                self.state[p] = {"step": step, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        grads = [p.grad for p in params if p.grad is not None]
        means, squares, steps = ([self.state[p][name] for p in params] for name in ("exp_avg", "exp_avg_sq", "step"))
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            params, grads, means, squares, [], steps, lr=group["lr"], beta1=group["betas"][0], beta2=group["betas"][1],
            weight_decay=group["weight_decay"], eps=group["eps"], amsgrad=False, maximize=False,
        )  # fmt: skip


@torch.no_grad()
def gradient_clipping(parameters: Iterable[Tensor], max_l2_norm: float) -> Tensor:
    """Scale all gradients, in place, so that their common L2 norm is at most `max_l2_norm`.

    Returns:
        The norm before clipping, a scalar on the gradients' device (no synchronization).
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return torch.zeros(())
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    torch._foreach_mul_(grads, torch.clamp(max_l2_norm / (norm + 1e-6), max=1.0))
    return norm


def get_lr_cosine_schedule(
    it: int, max_learning_rate: float, min_learning_rate: float, warmup_iters: int, cosine_cycle_iters: int
) -> float:
    """The learning rate of step `it`: linear warm-up, half a cosine down to the minimum, then the minimum.

    Warm-up goes from 0 at step 0 to the maximum at step `warmup_iters`; the minimum is reached at step
    `cosine_cycle_iters` (Loshchilov & Hutter 2017, without restarts).
    """
    if it < warmup_iters:
        return max_learning_rate * it / warmup_iters
    if it >= cosine_cycle_iters:
        return min_learning_rate
    progress = (it - warmup_iters) / (cosine_cycle_iters - warmup_iters)
    return min_learning_rate + 0.5 * (1 + math.cos(math.pi * progress)) * (max_learning_rate - min_learning_rate)
