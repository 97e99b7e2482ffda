"""From a file of token ids to batches of inputs and targets."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from minlm.errors import MinlmError
from minlm.transformer.devices import move
from minlm.transformer.modules import Device


class Tokens(Protocol):
    """A data set: a length and slices. A one-dimensional numpy array, memory-mapped or not, has both."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: slice, /) -> np.ndarray: ...


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
    starts = _random_starts(dataset, batch_size, context_length, generator or np.random.default_rng())
    return windows(dataset, starts, context_length, device)


def batch_at(
    dataset: Tokens, batch_size: int, context_length: int, device: Device, seed: int, step: int,
    part: int = 0, parts: int = 1,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The batch of training step `step`: `get_batch` as a pure function of (seed, step).

    A resumed run therefore sees the same data without any generator state to save. With `parts` > 1, only the rows
    of part `part` of as many equal ones are read, so that processes can share a batch.
    """
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, step])))
    starts = _random_starts(dataset, batch_size, context_length, generator)
    return windows(dataset, np.split(starts, parts)[part], context_length, device)


def _random_starts(dataset: Tokens, number: int, context_length: int, generator: np.random.Generator) -> np.ndarray:
    if len(dataset) <= context_length:
        raise MinlmError(f"{len(dataset):,} tokens are too few for a context of {context_length}.")
    return generator.integers(0, len(dataset) - context_length, size=number)


def evaluation_batches(
    dataset: Tokens, batch_size: int, context_length: int, device: Device = "cpu"
) -> Iterator[tuple[Tensor, Tensor]]:
    """The whole data set in windows that do not overlap; every token but the first is a target exactly once.

    Batches are (batch_size, context_length); the last full one may have fewer rows, and the rest of the tokens is one
    shorter window.
    """
    predicted = len(dataset) - 1
    full = predicted // context_length
    for first in range(0, full, batch_size):
        starts = context_length * np.arange(first, min(first + batch_size, full))
        yield windows(dataset, starts, context_length, device)
    if rest := predicted - full * context_length:
        yield windows(dataset, np.array([full * context_length]), rest, device)


def windows(dataset: Tokens, starts: np.ndarray, context_length: int, device: Device) -> tuple[Tensor, Tensor]:
    """Inputs and targets (len(starts), context_length) of the windows that begin at `starts`."""
    tokens = np.stack([dataset[start : start + context_length + 1] for start in starts]).astype(np.int64)
    batch = move(torch.from_numpy(tokens), device)  # (len(starts), context_length + 1)
    return batch[:, :-1], batch[:, 1:]
