"""How often each pre-token ("word") occurs: all that training a tokenizer needs to know of a corpus."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np

from minlm.reading import check_array, open_stored_zip, reading


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
        with (
            reading(path, "a file of word counts", "Make it again with count_words."),
            open(path, "rb") as file,
            open_stored_zip(file) as archive,
        ):
            names = ("bytes", "offsets", "counts", "special_tokens")
            text, offsets, counts, special = (_read_array(archive, f"{name}.npy") for name in names)
            dtypes = (text.dtype, offsets.dtype, counts.dtype, special.dtype.kind)
            dimensions = {array.ndim for array in (text, offsets, counts, special)}
            if not (
                dtypes == (np.uint8, np.int64, np.int64, "U")
                and dimensions == {1}
                and len(counts) == len(offsets) - 1
                and offsets[0] == 0
                and offsets[-1] == len(text)
                and (offsets[1:] > offsets[:-1]).all()  # compared, not subtracted, and summed as float:
                and (counts > 0).all()  # neither overflows
                and counts.sum(dtype=np.float64) < 2**62
            ):
                raise ValueError("the arrays do not fit each other")
            "".join(special_tokens := special.tolist()).encode()  # fails for what is no text
        return cls(text, offsets, counts, special_tokens)


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as file:
        check_array(file, archive.getinfo(name).file_size)
        return np.lib.format.read_array(file, allow_pickle=False)
