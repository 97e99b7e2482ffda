"""Textbook forms of what training here does in another way; exercises and older code use them."""

import math

import numpy as np
import torch
from torch import Tensor

from minlm.transformer.data import Tokens, check_enough, windows
from minlm.transformer.modules import Device


def softmax(x: Tensor, dim: int) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim`; the largest entry is subtracted first, so that nothing overflows."""
    exponentials = torch.exp(x - x.amax(dim=dim, keepdim=True))
    return exponentials / exponentials.sum(dim=dim, keepdim=True)


def get_batch(
    dataset: Tokens, batch_size: int, context_length: int, device: Device = "cpu",
    generator: np.random.Generator | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`batch_size` windows that start anywhere in the data set, all starts equally likely.

    Args:
        dataset: integer token ids; `MinlmError` if there are not more than `context_length`.
        batch_size: number of windows.
        context_length: tokens in each.
        device: where the tensors go.
        generator: source of the starts; without one, fresh randomness.

    Returns:
        inputs and targets, int64 (batch_size, context_length): the target of each token is its successor.
    """
    check_enough(dataset, context_length)
    starts = (generator or np.random.default_rng()).integers(0, len(dataset) - context_length, size=batch_size)
    return windows(dataset, starts, context_length, device)


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


def get_lr_wsd_schedule(
    it: int, max_learning_rate: float, min_learning_rate: float, warmup_iters: int, total_iters: int
) -> float:
    """The learning rate of step `it`: linear warm-up, the maximum until `decay_start`, a straight line to the minimum.

    Warm-up, stable, decay (Hu et al. 2024): up to the decay, a run does not depend on its length and can be extended.
    """
    if it < warmup_iters:
        return max_learning_rate * (it + 1) / warmup_iters
    start = decay_start(warmup_iters, total_iters)
    left = min(1.0, max(0.0, (total_iters - it) / max(1, total_iters - start)))
    return min_learning_rate + left * (max_learning_rate - min_learning_rate)


def decay_start(warmup_iters: int, total_iters: int) -> int:
    """The step at which `get_lr_wsd_schedule` begins to fall: the last fifth, after the warm-up."""
    return max(warmup_iters, total_iters - total_iters // 5)
