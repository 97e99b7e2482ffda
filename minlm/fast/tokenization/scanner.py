"""Finding the words of a text, block by block."""

from collections.abc import Iterator, Sequence

import numpy as np

from minlm.fast.tokenization.kernels.scan import PADDING, find_certain_words, scan_masks, scan_tables

BLOCK_BYTES = 1 << 17  # so that a block and its work space fit into the processor's cache


class Scanner:
    """Finds the words of texts, with arrays that all blocks share.

    Attributes:
        bounds: int64; word k of the current block is `block[bounds[k]:bounds[k + 1]]`.
    """

    def __init__(self, special_tokens: Sequence[str], pattern: str = "gpt2"):
        self._tables = scan_tables([token.encode() for token in special_tokens], pattern)
        self._make_room(1 << 12)

    def _make_room(self, size: int) -> None:
        self._block = np.zeros(size + PADDING, dtype=np.uint8)
        self._masks = scan_masks(size)
        self.bounds = np.empty(size + 9, dtype=np.int64)

    def blocks(self, text: bytes | np.ndarray, errors: str = "strict") -> Iterator[tuple[np.ndarray, int]]:
        """Yield the bytes of each block of a text (uint8, padded) and the number of words found in it.

        The next block starts after the last of these words.

        Raises:
            UnicodeDecodeError: a byte is not UTF-8, and `errors` is "strict".
        """
        content = np.frombuffer(text, dtype=np.uint8)
        start, size = 0, BLOCK_BYTES
        while True:
            rest = content[start : start + size + 1]  # the byte after the block says whether a character ends with it
            size, left = min(size, len(rest)), len(content) - start
            if size + 9 > self.bounds.size:
                self._make_room(2 * size)
            self._block[: len(rest)] = rest
            found, invalid = find_certain_words(
                self._block, size, left, self._tables, self._masks, self.bounds
            )  # fmt: skip
            if invalid >= 0 and errors == "strict":
                position = start + invalid
                raise UnicodeDecodeError("utf-8", bytes(content), position, position + 1, "invalid byte")
            yield self._block, found
            start += int(self.bounds[found])
            if start == len(content):
                return
            size = BLOCK_BYTES if found > 0 else 2 * size  # the word at the start may be longer than the block
