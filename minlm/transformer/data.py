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


def batch_at(
    dataset: Tokens, batch_size: int, context_length: int, device: Device, seed: int, step: int,
    part: int = 0, parts: int = 1,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The batch of training step `step`, a pure function of (seed, step).

    Training reads the data set in passes. A pass takes it as a ring, cuts the ring at a random place into windows of
    `context_length` tokens and reads each window once, in random order; the last one may overlap the first, so that
    nothing is left out. No order is stored, so a resumed run needs no state to continue it. With `parts` > 1, only the
    rows of part `part` of as many equal ones are read, so that processes can share a batch.

    Returns:
        inputs and targets, int64 (batch_size / parts, context_length): the target of each token is its successor.

    Raises:
        MinlmError: there are not more tokens than `context_length`.
    """
    check_enough(dataset, context_length)
    per_pass = -(-len(dataset) // context_length)  # windows
    rows = np.split(step * batch_size + np.arange(batch_size), parts)[part]
    starts = np.empty_like(rows)
    for number in np.unique(rows // per_pass):
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, int(number)])))
        cut, keys = generator.integers(len(dataset)), generator.integers(2**63, size=4, dtype=np.uint64)
        now = rows // per_pass == number
        starts[now] = cut + context_length * shuffled(rows[now] % per_pass, per_pass, keys)
    return windows(dataset, starts % len(dataset), context_length, device)


def shuffled(indices: np.ndarray, count: int, keys: np.ndarray) -> np.ndarray:
    """The entries at `indices` of a random order of 0 … count - 1, which is never stored; `keys` choose the order.

    A Feistel network (Luby & Rackoff 1988): mixing one half of a number's bits into the other can be undone, so it maps
    no two numbers to the same one. A result that is not below `count` goes through the network again.
    """
    bits = np.uint64(max(1, -(-(count - 1).bit_length() // 2)))  # of a half
    mask = np.uint64((1 << int(bits)) - 1)
    entries, outside = indices.astype(np.uint64), np.ones(len(indices), dtype=bool)
    while outside.any():
        left, right = entries[outside] >> bits, entries[outside] & mask
        for key in keys:
            mixed = (right ^ key) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)  # 2^64 / golden ratio, modulo 2^64
            left, right = right, left ^ (mixed & mask)
        entries[outside] = left << bits | right
        outside = entries >= count
    return entries.astype(np.int64)


def check_enough(dataset: Tokens, context_length: int) -> None:
    """Raise `MinlmError` for a data set in which no window has all its targets."""
    if len(dataset) <= context_length:
        raise MinlmError(f"{len(dataset):,} tokens are too few for a context of {context_length}.")


def evaluation_batches(
    dataset: Tokens, batch_size: int, context_length: int, device: Device = "cpu", part: int = 0, parts: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """The whole data set in windows that do not overlap; every token but the first is a target exactly once.

    Batches are (batch_size, context_length); the last full one may have fewer rows, and the rest of the tokens is one
    shorter window. With `parts` > 1, only each `parts`-th batch is read.
    """
    predicted = len(dataset) - 1
    full = predicted // context_length
    for first in (firsts := range(0, full, batch_size))[part::parts]:
        starts = context_length * np.arange(first, min(first + batch_size, full))
        yield windows(dataset, starts, context_length, device)
    if (rest := predicted - full * context_length) and len(firsts) % parts == part:
        yield windows(dataset, np.array([full * context_length]), rest, device)


def windows(dataset: Tokens, starts: np.ndarray, context_length: int, device: Device) -> tuple[Tensor, Tensor]:
    """Inputs and targets (len(starts), context_length) of the windows that begin at `starts`.

    A window that reaches the end of the data set goes on at its beginning.
    """
    pieces = [dataset[start : start + context_length + 1] for start in starts]
    rings = [np.append(piece, dataset[: context_length + 1 - len(piece)]) for piece in pieces]
    batch = move(torch.from_numpy(np.stack(rings).astype(np.int64)), device)  # (len(starts), context_length + 1)
    return batch[:, :-1], batch[:, 1:]
