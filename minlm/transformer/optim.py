"""What makes a model learn: the loss, the optimizer, gradient clipping and the learning rate over time."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def cross_entropy_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-likelihood in nats, the mean of logsumexp(logits) - logits[target]: a float32 scalar.

    Args:
        logits: (..., vocab), any floating dtype.
        targets: integer ids (...), below vocab; a position with a negative one has the loss 0.
    """
    logits = logits.float()
    of_target = logits.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return ((logits.logsumexp(-1) - of_target) * (targets >= 0)).mean()


class AdamW(torch.optim.Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), by lr · weight_decay as in torch.optim.AdamW.

    Args:
        params: parameters, or groups of them, as for any torch optimizer.
        lr: learning rate; may be changed in `param_groups` before each step.
        betas: decay of the running means of the gradient and of its square.
        eps: keeps the division finite.
        weight_decay: each step shrinks a weight by lr · weight_decay of itself, whatever its gradient.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):  # fmt: skip
        if lr < 0 or eps < 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"out of range: {lr=}, {betas=}, {eps=}, {weight_decay=}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; returns the closure's loss if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            for p in params:
                if not self.state[p]:
                    self.state[p] = self.first_state(p)
            self.update(params, group)
        return loss

    def first_state(self, w: Tensor) -> dict[str, Tensor]:
        """The state of a weight before its first update: steps taken, mean of the gradient, mean of its square."""
        step = torch.zeros((), device=w.device)
        return {"step": step, "exp_avg": torch.zeros_like(w), "exp_avg_sq": torch.zeros_like(w)}

    def update(self, params: list[Tensor], group: dict[str, Any]) -> None:
        """Change each weight w by its gradient g. Bias correction: m and v start at 0, hence 1 - βᵗ."""
        lr, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
        for w in params:
            g: Any = w.grad
            m, v, step = (self.state[w][name] for name in ("exp_avg", "exp_avg_sq", "step"))
            t = int(step.add_(1))
            w -= lr * group["weight_decay"] * w
            m.copy_(beta1 * m + (1 - beta1) * g)
            v.copy_(beta2 * v + (1 - beta2) * g**2)
            w -= lr * (m / (1 - beta1**t)) / (torch.sqrt(v / (1 - beta2**t)) + eps)


@torch.no_grad()
def gradient_clipping(parameters: Iterable[Tensor], max_l2_norm: float) -> Tensor:
    """Scale all gradients, in place, so that their common L2 norm is at most `max_l2_norm`.

    Returns the norm before clipping, a scalar on the gradients' device.
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = torch.stack([grad.square().sum() for grad in grads]).sum().sqrt() if grads else torch.zeros(())
    for grad in grads:
        grad *= torch.clamp(max_l2_norm / (norm + 1e-6), max=1.0)
    return norm


def get_lr_linear_schedule(
    it: int, max_learning_rate: float, min_learning_rate: float, warmup_iters: int, total_iters: int
) -> float:
    """The learning rate of step `it`: linear warm-up to the maximum, then a straight line to the minimum.

    The last step has a little more than the minimum, which would be reached at step `total_iters`. A straight line to 0
    ends lower than a cosine (Bergsma et al. 2025).
    """
    if it < warmup_iters:
        return max_learning_rate * (it + 1) / warmup_iters
    left = max(0.0, (total_iters - it) / (total_iters - warmup_iters))
    return min_learning_rate + left * (max_learning_rate - min_learning_rate)
