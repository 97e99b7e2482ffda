"""The words of a text, found a block at a time by compiled kernels."""

from collections.abc import Iterator, Sequence

import numpy as np

from minlm.fast.tokenization.kernels.scan import PADDING, find_certain_words, scan_masks, scan_tables
from minlm.fast.tokenization.ranges import InvalidUtf8

BLOCK_BYTES = 1 << 17  # what is handled at once: text and work space stay in the processor's cache


class Scanner:
    """Finds the words of texts, in arrays that are used again and again."""

    def __init__(self, special_tokens: Sequence[str], keep_invalid: bool):
        self.keep_invalid = keep_invalid
        self.tables = scan_tables([token.encode() for token in special_tokens])
        self._make_room(1 << 12)
        self.text = self.lent = np.empty(0, dtype=np.uint8)

    def _make_room(self, size: int) -> None:
        self.masks = scan_masks(size)
        self.bounds = np.empty(size + 9, dtype=np.int64)

    def buffer(self, size: int) -> np.ndarray:
        """Room for the next text: what is written there need not be copied."""
        if size + PADDING > self.text.size:
            self.text = np.zeros(2 * size + PADDING, dtype=np.uint8)
        self.lent = self.text[:size]
        return self.lent

    def blocks(self, text: bytes | np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
        """Scan a text a block at a time, so that all that is worked with stays in the processor's cache.

        Yields the text from the block on, and the number of words found in it; their bounds are in `bounds`. The next
        block begins behind the last of them.
        """
        if text is not self.lent:
            self.buffer(len(text))[:] = np.frombuffer(text, dtype=np.uint8)
        start, size = 0, BLOCK_BYTES
        while True:
            block, left = self.text[start:], len(text) - start
            size = min(size, left)
            if size + 9 > self.bounds.size:
                self._make_room(2 * size)
            found = find_certain_words(
                block, size, left, self.keep_invalid, self.tables, self.masks, self.bounds
            )  # fmt: skip
            if found < 0:
                raise InvalidUtf8(start - 1 - found)
            yield block, found
            start += int(self.bounds[found])
            if start == len(text):
                return
            size = BLOCK_BYTES if found > 0 else 2 * size  # no word is certain: one is longer than the block
