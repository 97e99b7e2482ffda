"""From a file of token ids to batches of inputs and targets."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from minlm.errors import MinlmError
from minlm.reading import check_array, reading
from minlm.training.device import move

DTYPES = ("uint16", "uint32", "int32", "int64")
SCAN_BLOCK = 1 << 22  # token ids checked at a time


class Tokens(Protocol):
    """What batching needs of a data set: a length and slices. A 1-D numpy array has both."""

    def __len__(self) -> int:
        """How many tokens there are."""

    def __getitem__(self, index: slice, /) -> np.ndarray:
        """The tokens of a contiguous range."""


class TokenShards:
    """Several token arrays that look like one after the other, without being copied."""

    def __init__(self, shards: Sequence[np.ndarray]):
        self.shards = list(shards)
        self.ends = np.cumsum([len(shard) for shard in self.shards])

    def __len__(self) -> int:
        """How many tokens there are in all shards together."""
        return int(self.ends[-1])

    def __getitem__(self, index: slice, /) -> np.ndarray:
        """The tokens of a contiguous range, copied only from the shards that it touches."""
        start, stop, _ = index.indices(len(self))
        pieces = []
        shard = int(np.searchsorted(self.ends, start, side="right"))
        while start < stop:
            begin = int(self.ends[shard]) - len(self.shards[shard])
            piece = self.shards[shard][start - begin : stop - begin]
            pieces.append(piece)
            start += len(piece)
            shard += 1
        return np.concatenate(pieces) if pieces else self.shards[0][:0]


def open_tokens(paths: str | Path | Sequence[str | Path], vocab_size: int, context_length: int) -> Tokens:
    """Memory-map one `.npy` of token ids, or several shards as one sequence, and check them.

    Args:
        paths: one-dimensional arrays of uint16, uint32, int32 or int64.
        vocab_size: every id must be below it.
        context_length: there must be more tokens than this, so that one window has all its targets.

    Raises:
        MinlmError: a file is missing, empty, cut short, not such an array, too short or holds a foreign id.
    """
    paths = [paths] if isinstance(paths, str | Path) else paths
    shards = [_open_shard(Path(path), vocab_size) for path in paths]
    tokens: Tokens = shards[0] if len(shards) == 1 else TokenShards(shards)
    if len(tokens) <= context_length:
        names = ", ".join(str(path) for path in paths)
        raise MinlmError(
            f"{names}: {len(tokens):,} tokens are too few for a context of {context_length}; "
            f"at least {context_length + 1} are needed. Use more text or a smaller context_length."
        )
    return tokens


def _open_shard(path: Path, vocab_size: int) -> np.ndarray:
    again = "Make it again with the tokenize program."
    if not path.exists():
        raise MinlmError(f"{path}: there is no such file of tokens. The tokenize program writes one.")
    with reading(path, "a complete .npy file of tokens", again):
        with open(path, "rb") as file:
            check_array(file, path.stat().st_size)
        tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    if tokens.dtype.name not in DTYPES or tokens.ndim != 1:
        shape = f"{tokens.dtype} of shape {tokens.shape}"
        raise MinlmError(f"{path}: tokens must be one-dimensional {', '.join(DTYPES)}, not {shape}. {again}")
    if len(tokens) == 0:
        raise MinlmError(f"{path}: holds no tokens. {again}")
    for start in range(0, len(tokens), SCAN_BLOCK):
        block = tokens[start : start + SCAN_BLOCK]
        foreign = np.flatnonzero((block < 0) | (block >= vocab_size))
        if len(foreign):
            position = start + int(foreign[0])
            raise MinlmError(
                f"{path}: token id {tokens[position]} at position {position:,} does not fit vocab_size {vocab_size}. "
                "The file was made with another vocabulary."
            )
    return tokens


def get_batch(
    dataset: Tokens,
    batch_size: int,
    context_length: int,
    device: torch.device | str = "cpu",
    generator: np.random.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """`batch_size` windows that start anywhere in the data set, all starts equally likely.

    Args:
        dataset: 1-D integer array (memory-mapped is fine), longer than `context_length`.
        batch_size: number of windows.
        context_length: tokens in each.
        device: where the tensors go.
        generator: source of the starts; without one, fresh randomness.

    Returns:
        inputs and targets, int64 (batch_size, context_length); the targets are the inputs' successors.
    """
    if len(dataset) <= context_length:
        raise MinlmError(f"{len(dataset):,} tokens are too few for a context of {context_length}.")
    generator = generator or np.random.default_rng()
    return _windows(dataset, _starts(dataset, batch_size, context_length, generator), context_length, device)


def batch_at(
    dataset: Tokens,
    batch_size: int,
    context_length: int,
    device: torch.device | str,
    seed: int,
    step: int,
    part: int = 0,
    parts: int = 1,
) -> tuple[Tensor, Tensor]:
    """The batch of training step `step`: `get_batch` as a pure function of (seed, step).

    A resumed run therefore sees the same data without any generator state to save. With `parts` > 1, only the rows
    of part `part` of as many equal ones are read, so that processes can share a batch.
    """
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, step])))
    starts = np.split(_starts(dataset, batch_size, context_length, generator), parts)[part]
    return _windows(dataset, starts, context_length, device)


def _starts(dataset: Tokens, batch_size: int, context_length: int, generator: np.random.Generator) -> np.ndarray:
    return generator.integers(0, len(dataset) - context_length, size=batch_size)


def _windows(
    dataset: Tokens, starts: np.ndarray, context_length: int, device: torch.device | str
) -> tuple[Tensor, Tensor]:
    return _to_device(np.stack([dataset[start : start + context_length + 1] for start in starts]), device)


def evaluation_batches(
    dataset: Tokens, batch_size: int, context_length: int, device: torch.device | str = "cpu"
) -> Iterator[tuple[Tensor, Tensor]]:
    """The whole data set in windows that do not overlap; every token but the first is a target exactly once.

    Batches are (batch_size, context_length), the last full one may have fewer rows; what is left over at the end
    is one shorter window.
    """
    predicted = len(dataset) - 1
    full = predicted // context_length
    for first in range(0, full, batch_size):
        starts = context_length * np.arange(first, min(first + batch_size, full))
        yield _windows(dataset, starts, context_length, device)
    if predicted > full * context_length:
        yield _to_device(dataset[full * context_length :][None], device)


def _to_device(windows: np.ndarray, device: torch.device | str) -> tuple[Tensor, Tensor]:
    tokens = move(torch.from_numpy(windows.astype(np.int64)), device)  # (batch, context + 1)
    return tokens[:, :-1], tokens[:, 1:]
