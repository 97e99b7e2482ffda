"""Drawing the next token of each text in a batch: `minlm.transformer.sampling.sample_token` for many rows at once."""

import numpy as np
import torch
from torch import Tensor

from minlm.transformer.devices import move

NO_TOKEN = -1


def draw_tokens(logits: Tensor, temperatures: Tensor, top_ps: Tensor, top_ks: Tensor, draws: Tensor) -> Tensor:
    """Draw one token for each row.

    A row gets the token that `sample_token` draws from its logits; temperature, top_p and top_k may differ from row to
    row. As there, the allowed tokens lie on a line in the order of their ids, each as long as it is probable, and the
    draw is a point on that line.

    No decision waits for the device: all of them depend on the settings, which are on the CPU.

    Args:
        logits: (rows, vocab), on any device.
        temperatures: (rows,), on the CPU; 0 takes the most probable token.
        top_ps: (rows,), on the CPU, in (0, 1]; 1 means no limit.
        top_ks: int64 (rows,), on the CPU, at least 1; vocab or more means no limit.
        draws: (rows,), on the CPU, uniform in [0, 1).

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
        line = probabilities.cumsum(dim=-1)
        point = move(draws.unsqueeze(-1), device) * line[:, -1:]  # below the end: draws are at most 1 - 2^-24
        chosen = torch.searchsorted(line, point, right=True).squeeze(-1)
        if greedy.any():
            chosen = torch.where(move(greedy, device), logits.argmax(dim=-1), chosen)
    return torch.where(largest.squeeze(-1).isfinite(), chosen, NO_TOKEN)


def _allowed(probabilities: Tensor, top_ps: Tensor, top_ks: Tensor) -> Tensor:
    """The tokens that top_k and top_p allow, as a mask (rows, vocab). Among equally probable tokens, low ids win."""
    descending = _sort_descending(probabilities)
    line = descending.cumsum(dim=-1)
    end = probabilities.shape[-1] - 1
    ends = (top_ks.unsqueeze(-1) - 1).clamp(max=end)  # index of the last token that top_k allows
    # The nucleus among these: all tokens that begin before top_p of their sum. With top_p = 1 it must be all of them,
    # whatever the rounding, so the target is beyond the end.
    target = torch.where(top_ps < 1, top_ps, 2.0).unsqueeze(-1) * line.gather(-1, ends)
    last = torch.minimum(torch.searchsorted(line, target), ends)
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
