"""Conversations to train on: packed into rows, and only the assistant's tokens are targets."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from minlm.errors import MinlmError
from minlm.progress import log
from minlm.reading import check_array, reading
from minlm.transformer.data import Tokens, batch_at, shuffled
from minlm.transformer.devices import move
from minlm.transformer.modules import Device

NO_TARGET = -1  # a position whose loss does not count


class Conversations:
    """Token ids with a mask, packed into rows of `context_length` + 1 tokens.

    A row has whole conversations, as many as fit. One that is longer is cut after a turn of the assistant, or where the
    row ends if there is none. Rows without any target are left out. As a `Tokens`, this is a token that is no target,
    then all targets.

    Args:
        tokens: ids; each conversation ends with `end`.
        mask: for each token whether it is a target.
        context_length: of the model.
        end: the id of `<|endoftext|>`, which also fills rows.

    Attributes:
        bounds: int64 (rows, 2): start and end of each row in `tokens`.
        cut: how many conversations are longer than a row.

    Raises:
        MinlmError: there is no target.
    """

    def __init__(self, tokens: Tokens, mask: np.ndarray, context_length: int, end: int):
        self.tokens, self.mask, self.width, self.end = tokens, mask, context_length + 1, end
        ids = tokens[0 : len(tokens)]
        ends_of_turns = np.flatnonzero(mask[:-1] > mask[1:]) + 1
        self.bounds, self.cut = pack(np.flatnonzero(ids == end) + 1, ends_of_turns, self.width)
        targets = np.array([mask[start + 1 : stop].sum(dtype=np.int64) for start, stop in self.bounds], dtype=np.int64)
        self.bounds, self.targets_in = self.bounds[targets > 0], targets[targets > 0]
        if len(self.bounds) == 0:
            raise MinlmError(f"no token is a target in a context of {context_length}. Use a larger context_length.")

    def __len__(self) -> int:
        """The number of targets, and one."""
        return int(self.targets_in.sum()) + 1

    def __getitem__(self, index: slice, /) -> np.ndarray:
        """A part of the targets, after `end`."""
        pieces = [self.tokens[a + 1 : b][self.mask[a + 1 : b] == 1] for a, b in self.bounds]
        return np.concatenate([[self.end], *pieces])[index]

    def batch_at(
        self, batch_size: int, device: Device, seed: int, step: int, part: int, parts: int
    ) -> tuple[Tensor, Tensor, float]:
        """As `training_batch`: each pass reads all rows once, in random order."""
        count, numbers = len(self.bounds), step * batch_size + np.arange(batch_size)
        rows = np.empty_like(numbers)
        for number in np.unique(numbers // count):
            generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, int(number)])))
            now = numbers // count == number
            rows[now] = shuffled(numbers[now] % count, count, generator.integers(2**63, size=4, dtype=np.uint64))
        scale = batch_size * (self.width - 1) / int(self.targets_in[rows].sum())
        return *self._read(np.split(rows, parts)[part], device), scale

    def evaluation_batches(
        self, batch_size: int, device: Device, part: int = 0, parts: int = 1
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """All rows in order, `batch_size` at a time; with `parts` > 1, each `parts`-th batch."""
        for first in range(0, len(self.bounds), batch_size)[part::parts]:
            yield self._read(np.arange(first, min(first + batch_size, len(self.bounds))), device)

    def _read(self, rows: np.ndarray, device: Device) -> tuple[Tensor, Tensor]:
        """Inputs and targets (len(rows), context_length)."""
        ids = np.full((len(rows), self.width), self.end, dtype=np.int64)
        targets = np.full_like(ids, NO_TARGET)
        for row, (start, stop) in enumerate(self.bounds[rows]):
            ids[row, : stop - start] = self.tokens[start:stop]
            targets[row, : stop - start] = np.where(self.mask[start:stop] == 1, ids[row, : stop - start], NO_TARGET)
        return move(torch.from_numpy(ids[:, :-1].copy()), device), move(torch.from_numpy(targets[:, 1:].copy()), device)


def pack(ends: np.ndarray, ends_of_turns: np.ndarray, width: int) -> tuple[np.ndarray, int]:
    """Divide conversations, which end at `ends`, into rows of at most `width` tokens.

    Returns:
        int64 (rows, 2): start and end of each row; and how many conversations had to be cut.
    """
    rows: list[tuple[int, int]] = []
    start = last = cut = 0  # of the row; and the end of the conversations in it
    for end in ends.tolist():
        if end - start > width and last > start:
            rows.append((start, last))
            start = last
        cut += end - start > width
        while end - start > width:
            before = ends_of_turns[np.searchsorted(ends_of_turns, start + width, side="right") - 1 :][:1]
            stop = int(before[0]) if len(before) and start < before[0] <= start + width else start + width
            rows.append((start, stop))
            start = stop
        last = end
    if last > start:
        rows.append((start, last))
    return np.array(rows, dtype=np.int64).reshape(-1, 2), cut


def training_batch(
    tokens: Tokens, batch_size: int, context_length: int, device: Device, seed: int, step: int, part: int, parts: int
) -> tuple[Tensor, Tensor, float]:
    """Inputs and targets of `data.batch_at`, and the factor that makes its mean loss one over the batch's targets."""
    if isinstance(tokens, Conversations):
        return tokens.batch_at(batch_size, device, seed, step, part, parts)
    return *batch_at(tokens, batch_size, context_length, device, seed, step, part, parts), 1.0


def open_conversations(tokens: Tokens, mask_path: str | Path, context_length: int, end: int) -> Conversations:
    """Pair tokens with the mask that `encode_chat_file` wrote, and log what is packed.

    Raises:
        MinlmError: the mask is missing, damaged or of other tokens.
    """
    with reading(mask_path, "a mask of conversations", "Make it with tokenize_chat."):
        with open(mask_path, "rb") as file:
            check_array(file, Path(mask_path).stat().st_size)
        mask = np.load(mask_path, mmap_mode="r", allow_pickle=False)
        if mask.dtype != np.uint8 or mask.shape != (len(tokens),):
            raise ValueError(f"it must be uint8 of shape ({len(tokens)},), not {mask.dtype} of shape {mask.shape}")
        if mask.max() > 1:
            raise ValueError("it has values other than 0 and 1")
    chats = Conversations(tokens, mask, context_length, end)
    log.info(
        f"{mask_path}: {len(chats.bounds):,} rows of up to {context_length + 1} tokens, {len(chats) - 1:,} targets; "
        f"{chats.cut:,} conversations are longer than the context and were cut"
    )
    return chats
