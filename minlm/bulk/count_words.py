"""Counting the words of texts of any size, in several threads or in shards on several machines."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minlm.atomic import atomic_write
from minlm.bulk.options import DEFAULT, Options
from minlm.bulk.text_file import TextFile, total_bytes
from minlm.errors import MinlmError
from minlm.fast.tokenization.word_counts import WordCounts
from minlm.progress import Progress
from minlm.tokenization.backend import choose_backend_for_files, load_backend
from minlm.tokenization.patterns import word_finder
from minlm.tokenization.pretokenize import PreTokenizer


def count_words(
    paths: Sequence[str | Path],
    special_tokens: Sequence[str],
    options: Options = DEFAULT,
    seconds: dict[str, float] | None = None,
    pattern: str = "gpt2",
) -> WordCounts:
    """Count the words of text files, or add up the counts in `.npz` files that `count_words_to_file` wrote.

    Args:
        paths: UTF-8 texts or `.npz` files, in any order.
        special_tokens: a text is split where they occur; they are not counted.
        options: how to count; a shard is one of each text.
        seconds: receives the seconds of "reading" and of "counting".
        pattern: what a word is, see `patterns.word_finder`.

    Raises:
        MinlmError: a file is missing, empty, not UTF-8 or damaged, or was counted with other special tokens or another
            pattern; or the pattern is not a regular expression.
    """
    started, reading = time.perf_counter(), 0.0
    PreTokenizer(special_tokens)  # raises if one is empty or repeated
    word_finder(pattern)  # raises if it is not one
    total = total_bytes(paths)
    backend = choose_backend_for_files(options.backend, options.share_of(total), pattern)
    threads = options.threads_for(max(map(os.path.getsize, paths)), backend)
    make_counter = load_backend(backend).WordCounter
    first, *others = counters = [make_counter(special_tokens, pattern) for _ in range(threads)]
    with Progress(total, "counting words", "B") as progress:
        for path in paths:
            if Path(path).suffix == ".npz":
                first.add_counts(_load_matching(path, special_tokens, pattern))
                progress.update(os.path.getsize(path))
                continue
            with TextFile(path, special_tokens, options, pattern) as text:
                for num_bytes, seconds_reading, _ in text.map(_add_text, counters):
                    reading += seconds_reading / threads
                    progress.update(num_bytes)
    for other in others:
        first.add_counts(other.counts())
    counts = WordCounts.of(first.counts(), special_tokens, pattern)
    if seconds is not None:
        seconds |= {"reading": reading, "counting": time.perf_counter() - started - reading}
    return counts


def _add_text(counter: Any, content: np.ndarray, errors: str) -> None:
    counter.add_text(content, errors)


def count_words_to_file(
    paths: Sequence[str | Path], special_tokens: Sequence[str], output: str | Path, options: Options = DEFAULT,
    pattern: str = "gpt2",
) -> WordCounts:  # fmt: skip
    """`count_words`; also writes the counts to the `.npz` file `output`."""
    total_bytes(paths)  # raises before anything is written
    with atomic_write(output, "wb") as file:
        counts = count_words(paths, special_tokens, options, pattern=pattern)
        counts.write(file)
    return counts


def _load_matching(path: str | Path, special_tokens: Sequence[str], pattern: str) -> WordCounts:
    loaded = WordCounts.load(path)
    if set(loaded.special_tokens) != set(special_tokens):
        raise MinlmError(
            f"{path} was counted with the special tokens {' '.join(loaded.special_tokens) or '(none)'}, not with "
            f"{' '.join(special_tokens) or '(none)'}; give the same --special_tokens, or count the text again"
        )
    if loaded.pattern != pattern:
        raise MinlmError(
            f"{path} was counted with the pattern {loaded.pattern}, not with {pattern}; give the same --pattern, or "
            "count the text again"
        )
    return loaded
