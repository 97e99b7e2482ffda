"""The training loss in chunks of positions: the logits of a whole batch never exist at once."""

import functools
import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Logits that exist at the same time: a few tens of MB on a CPU; enough to keep a GPU busy.
CHUNK_ON_CPU, CHUNK_ELSEWHERE = 1 << 23, 1 << 27


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, max_logits: int | None = None, compiled: bool = False
) -> Tensor:
    """`cross_entropy_loss(hidden @ weight.T, targets)` without ever holding all logits.

    For one chunk of positions at a time, computes the logits, the chunk's share of the loss and, if gradients are
    needed, the gradients of `hidden` and `weight`, which are kept for the backward pass. Logits are by far the largest
    tensor in a training step of a small model. In chunks they stay below 64 MB and mostly in the cache.

    Args:
        hidden: (..., d_model), any floating dtype; under autocast, products are computed in its dtype.
        weight: (vocab, d_model), of the output layer.
        targets: integer ids (...), below vocab; a position with a negative one has the loss 0.
        max_logits: approximate number of logits in a chunk; by default it depends on the device.
        compiled: use torch.compile for the work on a chunk.

    Returns:
        A scalar, float32, in nats; the softmax is computed in float32.
    """
    if max_logits is None:
        max_logits = CHUNK_ON_CPU if hidden.device.type == "cpu" else CHUNK_ELSEWHERE
    # A power of two divides most batches, and chunks of equal size are compiled only once.
    chunks = 1 << max(0, math.ceil(math.log2(targets.numel() * weight.shape[0] / max_logits)))
    flat = hidden.reshape(-1, hidden.shape[-1])  # (positions, d_model)
    # Decided here, because ctx.needs_input_grad is true for a parameter even in inference mode.
    with_gradients = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    loss: Tensor = _LinearCrossEntropy.apply(flat, weight, targets.reshape(-1), chunks, compiled, with_gradients)
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, chunks: int, compiled: bool, with_gradients: bool
    ) -> Tensor:
        device = hidden.device.type
        autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else hidden.dtype
        ctx.positions = len(targets)
        total = torch.zeros((), device=hidden.device)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if with_gradients else None
        grad_hidden: list[Any] = []
        loss_and_gradients = _compiled() if compiled else _loss_and_gradients
        with torch.autocast(device, enabled=False) if autocast else nullcontext():
            w = weight.to(dtype)
            for h, t in zip(hidden.to(dtype).chunk(chunks), targets.chunk(chunks), strict=True):
                loss, grad_h = loss_and_gradients(h, w, t, grad_weight)
                total += loss
                grad_hidden.append(grad_h)
        if grad_weight is not None:
            ctx.save_for_backward(torch.cat(grad_hidden).to(hidden.dtype), grad_weight.to(weight.dtype))
        return total / ctx.positions

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight = ctx.saved_tensors
        scale = grad_loss / ctx.positions  # in place: there is only one backward pass, and memory is scarcest now
        return grad_hidden.mul_(scale), grad_weight.mul_(scale), None, None, None, None


def _loss_and_gradients(
    hidden: Tensor, weight: Tensor, targets: Tensor, grad_weight: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The summed loss and its gradient of `hidden`; adds that of `weight` to `grad_weight` (None: no gradients)."""
    logits = (hidden @ weight.T).float()  # (positions, vocab); changed in place below
    targets, counts = targets.clamp(min=0).unsqueeze(-1), targets.unsqueeze(-1) >= 0
    largest = logits.amax(-1, keepdim=True)
    of_target = logits.gather(-1, targets) - largest
    exponentials = logits.sub_(largest).exp_()
    sums = exponentials.sum(-1, keepdim=True)
    loss = ((sums.log() - of_target) * counts).sum()
    if grad_weight is None:
        return loss, None
    # Gradient of the logits: softmax - one-hot. The one is subtracted before rounding to 16 bits would hide the rest.
    gradient = exponentials.mul_(1 / sums * counts).to(hidden.dtype)
    gradient.scatter_(-1, targets, ((of_target.exp() / sums - 1) * counts).to(hidden.dtype))
    if hidden.dtype == torch.float32:
        grad_weight.addmm_(gradient.T, hidden)
    else:  # products in 16 bits, their sum over the chunks in 32 bits
        grad_weight += gradient.T @ hidden
    return loss, gradient @ weight


@functools.cache
def _compiled() -> Callable[[Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor | None]]:
    return torch.compile(_loss_and_gradients)
