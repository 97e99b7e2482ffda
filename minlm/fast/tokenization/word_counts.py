"""Word counts in arrays, as the compiled `learn_merges` reads them, and their file."""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np

from minlm.reading import check_array, open_stored_zip, reading

SHORT = 15  # bytes of the longest word that `_order` sorts as two integers


@dataclass(eq=False)
class WordCounts(Mapping[bytes, int]):
    """How often each word of a corpus occurs, and the special tokens and the pattern by which its text was split."""

    joined: np.ndarray  # uint8: all words, one after another
    offsets: np.ndarray  # int64 (n + 1,): where each word starts, and the end
    counts: np.ndarray  # int64 (n,)
    special_tokens: list[str]
    pattern: str = "gpt2"  # see `patterns.word_finder`

    @classmethod
    def of(cls, counts: Mapping[bytes, int], special_tokens: Sequence[str] = (), pattern: str = "gpt2") -> "WordCounts":
        """The arrays of a mapping; a `WordCounts` is returned as it is."""
        if isinstance(counts, cls):
            return counts
        return cls(
            np.frombuffer(b"".join(counts), dtype=np.uint8),
            np.cumsum([0, *map(len, counts)], dtype=np.int64),
            np.array(list(counts.values()), dtype=np.int64),
            list(special_tokens),
            pattern,
        )

    @cached_property
    def _by_word(self) -> dict[bytes, int]:
        return dict(zip(self.words(), self.counts.tolist(), strict=True))

    def __getitem__(self, word: bytes) -> int:
        return self._by_word[word]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._by_word)

    def __len__(self) -> int:
        return len(self.counts)

    def words(self) -> list[bytes]:
        """The words, in the order of `counts`."""
        text, offsets = self.joined.tobytes(), self.offsets.tolist()
        return [text[start:end] for start, end in pairwise(offsets)]

    def write(self, file: IO[bytes]) -> None:
        """Write an `.npz` of the arrays `bytes`, `offsets`, `counts`, `special_tokens` and, if not "gpt2", `pattern`.

        The words of up to 15 bytes come first, sorted, then the longer ones, sorted: equal counts give equal files.
        """
        order, lengths = self._order(), np.diff(self.offsets)
        offsets = np.append(0, np.cumsum(lengths[order]))
        moves = np.repeat(self.offsets[:-1][order] - offsets[:-1], lengths[order])
        pattern: dict[str, Any] = {} if self.pattern == "gpt2" else {"pattern": np.array([self.pattern])}
        np.savez(
            file, bytes=self.joined[moves + np.arange(offsets[-1])], offsets=offsets, counts=self.counts[order],
            special_tokens=np.array(self.special_tokens, dtype=np.str_),
            **pattern,
        )  # fmt: skip

    def _order(self) -> np.ndarray:
        """The indices of the words in the order of the file."""
        starts, lengths = self.offsets[:-1], np.diff(self.offsets)
        short, long = np.flatnonzero(lengths <= SHORT), np.flatnonzero(lengths > SHORT)
        padded = np.append(self.joined, np.zeros(SHORT + 1, dtype=np.uint8))
        keys = np.lib.stride_tricks.sliding_window_view(padded, SHORT + 1)[starts[short]]  # (n, 16)
        keys[np.arange(SHORT + 1) >= lengths[short, None]] = 0
        keys[:, SHORT] = lengths[short]  # of "a" and "a\0", the shorter one comes first
        first, second = keys.view(">u8").astype(np.uint64).T
        text = self.joined.tobytes()
        sorted_long = sorted(long.tolist(), key=lambda word: text[self.offsets[word] : self.offsets[word + 1]])
        return np.concatenate([short[np.lexsort((second, first))], np.array(sorted_long, dtype=np.int64)])

    @classmethod
    def load(cls, path: str | Path) -> "WordCounts":
        """Read a file of word counts.

        Raises:
            MinlmError: it is another kind of file, or damaged.
        """
        with (
            reading(path, "a file of word counts", "Make it again with count_words."),
            open(path, "rb") as file,
            open_stored_zip(file) as archive,
        ):
            names = ("bytes", "offsets", "counts", "special_tokens")
            text, offsets, counts, special = (_read_array(archive, f"{name}.npy") for name in names)
            patterns = np.array(["gpt2"])
            if "pattern.npy" in archive.namelist():
                patterns = _read_array(archive, "pattern.npy")
            dtypes = (text.dtype, offsets.dtype, counts.dtype, special.dtype.kind, patterns.dtype.kind)
            dimensions = {array.ndim for array in (text, offsets, counts, special, patterns)}
            if not (
                dtypes == (np.uint8, np.int64, np.int64, "U", "U")
                and dimensions == {1}
                and len(counts) == len(offsets) - 1
                and len(patterns) == 1
                and offsets[0] == 0
                and offsets[-1] == len(text)
                and (offsets[1:] > offsets[:-1]).all()  # a difference could overflow, and so could a sum of integers
                and (counts > 0).all()
                and counts.sum(dtype=np.float64) < 2**62
            ):
                raise ValueError("the arrays do not fit each other")
            "".join([*(special_tokens := special.tolist()), patterns[0]]).encode()  # raises if one is not valid text
        return cls(text, offsets, counts, special_tokens, str(patterns[0]))


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as file:
        check_array(file, archive.getinfo(name).file_size)
        return np.lib.format.read_array(file, allow_pickle=False)
