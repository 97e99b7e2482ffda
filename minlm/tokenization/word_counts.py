"""How often each pre-token ("word") occurs: all that training a tokenizer needs to know of a corpus."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np

from minlm.errors import MinlmError


@dataclass(eq=False)
class WordCounts:
    """The words of a corpus with their counts, and the special tokens at which its text was split."""

    joined: np.ndarray  # uint8: all words, one behind the other
    offsets: np.ndarray  # int64 (n + 1,): where each word begins, and the end
    counts: np.ndarray  # int64 (n,)
    special_tokens: list[str]

    @classmethod
    def from_dict(cls, counts: Mapping[bytes, int], special_tokens: Sequence[str] = ()) -> "WordCounts":
        """The same of a mapping."""
        return cls(
            np.frombuffer(b"".join(counts), dtype=np.uint8),
            np.cumsum([0, *map(len, counts)], dtype=np.int64),
            np.array(list(counts.values()), dtype=np.int64),
            list(special_tokens),
        )

    def words(self) -> list[bytes]:
        """The words."""
        text, offsets = self.joined.tobytes(), self.offsets.tolist()
        return [text[start:end] for start, end in pairwise(offsets)]

    def as_dict(self) -> dict[bytes, int]:
        """How often each word occurs."""
        return dict(zip(self.words(), self.counts.tolist(), strict=True))

    def write(self, file: IO[bytes]) -> None:
        """Write an `.npz` of the arrays `bytes`, `offsets`, `counts` and `special_tokens` (str)."""
        np.savez(
            file, bytes=self.joined, offsets=self.offsets, counts=self.counts,
            special_tokens=np.array(self.special_tokens, dtype=np.str_),
        )  # fmt: skip

    @classmethod
    def load(cls, path: str | Path) -> "WordCounts":
        """Read what `write` wrote.

        Raises:
            MinlmError: the file is something else, or damaged.
        """
        try:
            with np.load(path) as arrays:
                text, offsets, counts = arrays["bytes"], arrays["offsets"], arrays["counts"]
                special_tokens = arrays["special_tokens"].tolist()
            sound = (text.dtype, offsets.dtype, counts.dtype) == (np.uint8, np.int64, np.int64)
            sound = sound and offsets[0] == 0 and offsets[-1] == len(text) and len(counts) == len(offsets) - 1
            if not (sound and (np.diff(offsets) > 0).all() and (counts > 0).all()):
                raise ValueError("the arrays do not fit each other")
        except (zipfile.BadZipFile, ValueError, KeyError, IndexError, EOFError, TypeError, AttributeError) as error:
            raise MinlmError(
                f"{path} is not a file of word counts, or is damaged ({error}); make it again with count_words"
            ) from error
        return cls(text, offsets, counts, special_tokens)
