"""Softmax and the training loss, both stable for logits of any size."""

import torch
import torch.nn.functional as F
from torch import Tensor


def softmax(x: Tensor, dim: int) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim`; the largest entry is subtracted first, so that nothing overflows."""
    exponentials = torch.exp(x - x.amax(dim=dim, keepdim=True))
    return exponentials / exponentials.sum(dim=dim, keepdim=True)


def cross_entropy_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-likelihood in nats: the mean of logsumexp(logits) - logits[target], in float32.

    torch's fused kernel computes it: written out with logsumexp and gather, a whole training step of the
    quickstart model took 5 to 6 % longer, because the backward pass goes over the logits more often.

    Args:
        logits: (..., vocab), any floating dtype.
        targets: integer ids (...), below vocab.

    Returns:
        A scalar, float32.
    """
    return F.cross_entropy(logits.float().reshape(-1, logits.shape[-1]), targets.reshape(-1))
