"""How often each pre-token ("word") occurs: all that training a tokenizer needs to know of a corpus."""

import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from minlm.errors import MinlmError
from minlm.files import atomic_write
from minlm.progress import Progress
from minlm.tokenization.pretokenize import PreTokenizer, find_words
from minlm.tokenization.text import read_text, total_bytes


class Stopwatch:
    """Adds up the seconds between laps by name, to tell where the time went."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """The time since the last lap went into `name`."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now


@dataclass
class WordCounts:
    """The words of a corpus as bytes with their counts, and the special tokens at which its text was split."""

    counts: Counter[bytes]
    special_tokens: list[str]

    def write(self, file: IO[bytes]) -> None:
        """Write an `.npz`; the same counts give the same bytes.

        Arrays: `bytes` (uint8; all words one behind the other, sorted), `offsets` (int64, n + 1; where each word
        starts, and the end), `counts` (int64, n), `special_tokens` (str).
        """
        words = sorted(self.counts)
        np.savez(
            file,
            bytes=np.frombuffer(b"".join(words), dtype=np.uint8),
            offsets=np.cumsum([0, *map(len, words)], dtype=np.int64),
            counts=np.array([self.counts[word] for word in words], dtype=np.int64),
            special_tokens=np.array(self.special_tokens, dtype=np.str_),
        )

    @classmethod
    def load(cls, path: str | Path) -> "WordCounts":
        """Read what `write` wrote.

        Raises:
            MinlmError: the file is something else, or damaged.
        """
        try:
            with np.load(path) as arrays:
                text, offsets = arrays["bytes"].tobytes(), arrays["offsets"]
                numbers, special_tokens = arrays["counts"], arrays["special_tokens"].tolist()
            sound = offsets[0] == 0 and offsets[-1] == len(text) and len(numbers) == len(offsets) - 1
            if not (sound and (np.diff(offsets) > 0).all() and (numbers > 0).all()):
                raise ValueError("the arrays do not fit each other")
        except (zipfile.BadZipFile, ValueError, KeyError, IndexError, EOFError, TypeError, AttributeError) as error:
            raise MinlmError(
                f"{path} is not a file of word counts, or is damaged ({error}); make it again with count_words"
            ) from error
        words = [text[start:end] for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
        return cls(Counter(dict(zip(words, numbers.tolist(), strict=True))), special_tokens)


def count_words(
    paths: Sequence[str | Path], special_tokens: Sequence[str], stopwatch: Stopwatch | None = None
) -> WordCounts:
    """Count the words of text files, or add up the counts in `.npz` files that `WordCounts.write` wrote.

    Args:
        paths: UTF-8 texts or `.npz` files, in any order.
        special_tokens: where they occur the text is split; they are not counted.
        stopwatch: is told the time for "reading" and "counting".

    Raises:
        MinlmError: a file is missing, empty, not UTF-8 or damaged, or was counted with other special tokens.
    """
    stopwatch = stopwatch or Stopwatch()
    words = PreTokenizer(special_tokens)
    counts: Counter[bytes] = Counter()
    with Progress(total_bytes(paths), "counting words", "B") as progress:
        for path in paths:
            if Path(path).suffix == ".npz":
                counts.update(_load_matching(path, special_tokens))
                stopwatch.lap("reading")
                progress.update(Path(path).stat().st_size)
                continue
            in_file: Counter[str] = Counter()
            for segment in words.segments(read_text(path, progress)):
                stopwatch.lap("reading")
                for text in words.split(segment)[::2]:
                    in_file.update(find_words(text))
                stopwatch.lap("counting")
            counts.update({word.encode(): count for word, count in in_file.items()})
            stopwatch.lap("counting")
    return WordCounts(counts, list(special_tokens))


def count_words_to_file(paths: Sequence[str | Path], special_tokens: Sequence[str], output: str | Path) -> WordCounts:
    """`count_words`, written to the `.npz` file `output`; returns the counts."""
    total_bytes(paths)  # complain about the inputs first
    with atomic_write(output, "wb") as file:
        counts = count_words(paths, special_tokens)
        counts.write(file)
    return counts


def _load_matching(path: str | Path, special_tokens: Sequence[str]) -> Counter[bytes]:
    loaded = WordCounts.load(path)
    if set(loaded.special_tokens) != set(special_tokens):
        raise MinlmError(
            f"{path} was counted with the special tokens {' '.join(loaded.special_tokens) or '(none)'}, not with "
            f"{' '.join(special_tokens) or '(none)'}; give the same --special_tokens, or count the text again"
        )
    return loaded.counts
