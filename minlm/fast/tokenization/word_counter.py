"""Counting words in a hash table."""

from collections.abc import Mapping, Sequence

import numpy as np

from minlm.fast.tokenization.kernels import word_table
from minlm.fast.tokenization.kernels.counting import add_counts, write_words
from minlm.fast.tokenization.scanner import Scanner
from minlm.fast.tokenization.word_counts import WordCounts

FREQUENT = 16  # a word with so many occurrences gets one of the best slots when the table grows
NEVER = -1 << 62  # the initial count of special tokens: it stays negative, so they are not listed as words


class WordCounter:
    """`minlm.tokenization.word_counter.WordCounter`, compiled."""

    def __init__(self, special_tokens: Sequence[str], pattern: str = "gpt2"):
        self.special_tokens, self.pattern = list(special_tokens), pattern
        self._scanner = Scanner(special_tokens, pattern)
        self._words = word_table.WordTable(pool_bytes=1 << 16)
        self._once = np.ones(1, dtype=np.int64)
        self.add_counts({token.encode(): NEVER for token in special_tokens})
        self.add_text(b"")  # compiles or loads the kernels now, because numba cannot do that in several threads at once

    def add_text(self, text: bytes | np.ndarray, errors: str = "strict") -> None:
        """Count the words of UTF-8 text (bytes or uint8)."""
        for block, num_words in self._scanner.blocks(text, errors):
            self._add(block, self._scanner.bounds, num_words, self._once)

    def add_counts(self, counts: Mapping[bytes, int]) -> None:
        """Add the counts of another text."""
        arrays = WordCounts.of(counts)
        padded = np.append(arrays.joined, np.zeros(word_table.PADDING, dtype=np.uint8))
        self._add(padded, arrays.offsets, len(arrays), np.append(arrays.counts, 0))

    def _add(self, text: np.ndarray, bounds: np.ndarray, num_words: int, amounts: np.ndarray) -> None:
        words, done = self._words, 0
        while True:
            done = add_counts(
                text, bounds, done, num_words, amounts, words.table, words.pool, words.used, words.keys
            )  # fmt: skip
            if done == num_words:
                return
            if words.is_full():
                words.grow(FREQUENT, np.iinfo(np.int64).max)
            else:
                batch = bounds[min(done + word_table.BATCH, num_words)] - bounds[done]
                words.pool = np.append(words.pool, np.empty(len(words.pool) + batch, dtype=np.uint8))

    def counts(self) -> WordCounts:
        """How often each word has occurred so far."""
        words = self._words
        entries = np.flatnonzero(words.field(word_table.VALUE) > 0)
        high = words.field(word_table.KEY_HIGH)[entries]
        lengths = np.where(high > 0, high >> 56, high ^ word_table.LONG)
        offsets = np.append(0, np.cumsum(lengths))
        joined = np.empty(offsets[-1], dtype=np.uint8)
        write_words(words.table, words.pool, entries * word_table.FIELDS, offsets, joined)
        return WordCounts(joined, offsets, words.field(word_table.VALUE)[entries], self.special_tokens, self.pattern)
