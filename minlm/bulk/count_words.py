"""Counting the words of a corpus: texts of any size, several threads, parts of a text on several machines."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minlm.atomic import atomic_write
from minlm.errors import MinlmError
from minlm.fast.tokenization import ranges as text
from minlm.fast.tokenization.options import DEFAULT, Options, choose_backend_for_files, load_backend
from minlm.progress import Progress
from minlm.tokenization.pretokenize import PreTokenizer
from minlm.tokenization.word_counts import WordCounts


class Stopwatch:
    """Adds up seconds by name, to tell where the time went."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str, **parts: float) -> None:
        """The time since the last lap went into `name`, save for some seconds that are known to be `parts` of it."""
        now = time.perf_counter()
        self.seconds |= {**parts, name: now - self._last - sum(parts.values())}
        self._last = now


def count_words(
    paths: Sequence[str | Path],
    special_tokens: Sequence[str],
    options: Options = DEFAULT,
    in_order: bool = True,
    stopwatch: Stopwatch | None = None,
) -> WordCounts:
    """Count the words of text files, or add up the counts in `.npz` files that `WordCounts.write` wrote.

    Args:
        paths: UTF-8 texts or `.npz` files, in any order.
        special_tokens: where they occur the text is split; they are not counted.
        options: how to do it; of texts only `options.shard` is counted.
        in_order: sort the words, so that the same counts are the same bytes.
        stopwatch: is told the time for "reading" and "counting".

    Raises:
        MinlmError: a file is missing, empty, not UTF-8 or damaged, or was counted with other special tokens.
    """
    pretokenizer = PreTokenizer(special_tokens)
    total = text.total_bytes(paths)
    backend = choose_backend_for_files(options.backend, options.share_of(total))
    threads = options.threads_for(max(map(os.path.getsize, paths)), backend)
    make_counter = load_backend(backend).WordCounter
    counters = [_Counter(make_counter(special_tokens, options.keep_invalid)) for _ in range(threads)]
    with Progress(total, "counting words", "B") as progress:
        for path in paths:
            if Path(path).suffix == ".npz":
                counters[0].counter.add_counts(_load_matching(path, special_tokens))
                progress.update(os.path.getsize(path))
            else:
                with text.open_text(path) as read:
                    _count_text(path, read, pretokenizer, counters, options, progress)
    for other in counters[1:]:
        counters[0].counter.add_counts(other.counter.counts(in_order=False))
    counts: WordCounts = counters[0].counter.counts(in_order)
    if stopwatch is not None:
        stopwatch.lap("counting", reading=sum(counter.reading for counter in counters) / threads)
    return counts


class _Counter:
    """A thread's counter, and the seconds it spent reading."""

    def __init__(self, counter: Any):
        self.counter = counter
        self.reading = 0.0


def _count_text(
    path: str | Path, read: text.OpenText, pretokenizer: PreTokenizer, counters: list[_Counter], options: Options,
    progress: Progress,
) -> None:  # fmt: skip
    def count(counter: _Counter, part: text.Range) -> int:
        start, end = part
        begin = time.perf_counter()
        content = read.into(counter.counter.buffer(end - start), start)
        counter.reading += time.perf_counter() - begin
        with text.explained(path, start, content):
            counter.counter.add_text(content)
        return end - start

    whole = options.range_of(read, path, pretokenizer)
    parts = text.ranges(pretokenizer, read, whole, text.RANGE_BYTES)
    for num_bytes in text.map_in_order(count, parts, counters):
        progress.update(num_bytes)


def count_words_to_file(
    paths: Sequence[str | Path], special_tokens: Sequence[str], output: str | Path, options: Options = DEFAULT
) -> WordCounts:
    """`count_words`, written to the `.npz` file `output`; returns the counts."""
    text.total_bytes(paths)  # complain about the inputs first
    with atomic_write(output, "wb") as file:
        counts = count_words(paths, special_tokens, options)
        counts.write(file)
    return counts


def _load_matching(path: str | Path, special_tokens: Sequence[str]) -> WordCounts:
    loaded = WordCounts.load(path)
    if set(loaded.special_tokens) != set(special_tokens):
        raise MinlmError(
            f"{path} was counted with the special tokens {' '.join(loaded.special_tokens) or '(none)'}, not with "
            f"{' '.join(special_tokens) or '(none)'}; give the same --special_tokens, or count the text again"
        )
    return loaded
