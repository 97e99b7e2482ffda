"""Drawing the next token of each text in a batch: `minlm.transformer.sampling.sample_token` for many rows at once."""

import numpy as np
import torch
from torch import Tensor

from minlm.transformer.devices import move

NO_TOKEN = -1


def draw_tokens(logits: Tensor, temperatures: Tensor, top_ps: Tensor, top_ks: Tensor, draws: Tensor) -> Tensor:
    """Draw one token for each row, by its own settings: the token that `sample_token` draws from the same logits.

    The settings are on the CPU, so that no branch waits for the device.

    Args:
        logits: (rows, vocab), on any device.
        temperatures: (rows,); 0 takes the most probable token.
        top_ps: (rows,), in (0, 1]; 1 means no limit.
        top_ks: int64 (rows,), at least 1; vocab or more means no limit.
        draws: (rows,), uniform in [0, 1).

    Returns:
        int64 (rows,), on the device of the logits; `NO_TOKEN` where the largest logit is NaN or infinite.
    """
    logits, device = logits.float(), logits.device
    largest = logits.amax(dim=-1, keepdim=True)
    greedy = temperatures == 0
    if greedy.all():
        chosen = logits.argmax(dim=-1)
    else:
        scale = move(torch.where(greedy, 1.0, temperatures).unsqueeze(-1), device)
        # Subtracting the maximum first keeps the division by a tiny temperature from overflowing.
        probabilities = torch.softmax((logits - largest).div_(scale), dim=-1)
        if (top_ps < 1).any() or (top_ks < logits.shape[-1]).any():
            allowed = _allowed(probabilities, move(top_ps, device), move(top_ks, device))
            probabilities = torch.where(allowed, probabilities, 0.0)
        cumulative = probabilities.cumsum(dim=-1)
        points = move(draws.unsqueeze(-1), device) * cumulative[:, -1:]  # below the end: draws are at most 1 - 2^-24
        chosen = torch.searchsorted(cumulative, points, right=True).squeeze(-1)
        if greedy.any():
            chosen = torch.where(move(greedy, device), logits.argmax(dim=-1), chosen)
    return torch.where(largest.squeeze(-1).isfinite(), chosen, NO_TOKEN)


def _allowed(probabilities: Tensor, top_ps: Tensor, top_ks: Tensor) -> Tensor:
    """A mask (rows, vocab) of the tokens that top_k and top_p allow. Of equally probable ones, low ids come first."""
    descending = _sort_descending(probabilities)
    cumulative = descending.cumsum(dim=-1)
    end = probabilities.shape[-1] - 1
    ends = (top_ks.unsqueeze(-1) - 1).clamp(max=end)  # index of the last token that top_k allows
    # The nucleus: the fewest of these tokens that reach top_p of their sum. With top_p = 1 it must be all of them,
    # whatever the rounding, so the target is above the sum.
    target = torch.where(top_ps < 1, top_ps, 2.0).unsqueeze(-1) * cumulative.gather(-1, ends)
    last = torch.minimum(torch.searchsorted(cumulative, target), ends)
    least = descending.gather(-1, last)
    allowed = probabilities >= least
    ties = (descending.gather(-1, (last + 1).clamp(max=end)) == least) & (last < end)
    if ties.device.type != "cpu" or ties.any():  # on other devices, the check would take longer than the work
        surplus = allowed.sum(dim=-1, keepdim=True) - (last + 1)
        tied = probabilities == least
        allowed &= ~tied | (tied.cumsum(dim=-1) <= tied.sum(dim=-1, keepdim=True) - surplus)
    return allowed


def _sort_descending(values: Tensor) -> Tensor:
    """Sort each row in descending order. On a CPU, numpy is 20 times as fast as torch."""
    if values.device.type != "cpu":
        return values.sort(dim=-1, descending=True).values
    return torch.from_numpy(-np.sort(-values.numpy(), axis=-1))
