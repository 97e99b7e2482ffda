"""Opening and checking token files; several are read as one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minlm.bulk.token_file import BLOCK, TokenFile, token_record
from minlm.errors import MinlmError
from minlm.transformer.data import Tokens


class TokenShards:
    """Several sequences of tokens, read as one without being copied."""

    def __init__(self, shards: Sequence[Tokens]):
        self.shards = list(shards)
        self.ends = np.cumsum([len(shard) for shard in self.shards])

    def __len__(self) -> int:
        """The number of tokens in all shards together."""
        return int(self.ends[-1])

    def __getitem__(self, index: slice, /) -> np.ndarray:
        """The tokens of a contiguous range."""
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
    """Open one `.npy` of token ids, or several as one sequence, and check all ids, from their records if there are any.

    Args:
        paths: one-dimensional arrays of uint16, uint32, int32 or int64.
        vocab_size: every id must be below it.
        context_length: there must be more tokens than this, so that one window has all its targets.

    Raises:
        MinlmError: a file is missing, damaged, empty, too short or not such an array, or an id is too large.
    """
    paths = [paths] if isinstance(paths, str | Path) else paths
    shards = [_open_shard(path, vocab_size) for path in paths]
    tokens: Tokens = shards[0] if len(shards) == 1 else TokenShards(shards)
    if len(tokens) <= context_length:
        names = ", ".join(str(path) for path in paths)
        raise MinlmError(
            f"{names}: {len(tokens):,} tokens are too few for a context of {context_length}; "
            f"at least {context_length + 1} are needed. Use more text or a smaller context_length."
        )
    return tokens


def _open_shard(path: str | Path, vocab_size: int) -> TokenFile:
    tokens, record = TokenFile(path), token_record(path)
    if record["smallest"] < 0 or record["largest"] >= vocab_size:
        for start in range(0, len(tokens), BLOCK):
            block = tokens[start : start + BLOCK]
            foreign = np.flatnonzero((block < 0) | (block >= vocab_size))
            if len(foreign):
                raise MinlmError(
                    f"{path}: token id {block[foreign[0]]} at position {start + int(foreign[0]):,} does not fit "
                    f"vocab_size {vocab_size}. The file was made with another vocabulary."
                )
    return tokens
