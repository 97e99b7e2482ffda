"""Softmax and the training loss, both stable for logits of any size."""

import torch
from torch import Tensor


def softmax(x: Tensor, dim: int) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim`; the largest entry is subtracted first, so that nothing overflows."""
    exponentials = torch.exp(x - x.amax(dim=dim, keepdim=True))
    return exponentials / exponentials.sum(dim=dim, keepdim=True)


def cross_entropy_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-likelihood in nats: logsumexp(logits) - logits[target], in float32.

    Args:
        logits: (..., vocab), any floating dtype.
        targets: integer ids (...), below vocab.

    Returns:
        A scalar, float32.
    """
    logits = logits.float()
    at_target = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return (torch.logsumexp(logits, dim=-1) - at_target).mean()
