"""Words as linked lists of tokens: a merge changes one place and its two neighbors, however long the word is."""

from collections.abc import Iterable

Merge = tuple[bytes, bytes]  # two neighboring tokens
BYTES = [bytes([byte]) for byte in range(256)]
GAP = b""


class LinkedTokens:
    """The tokens of words, at first their bytes.

    Place p holds the token `tokens[p]`; its neighbors are at `left[p]` and `right[p]`. A `GAP` is before and after each
    word, and where a token was merged into its left neighbor.
    """

    def __init__(self, words: Iterable[bytes]):
        self.tokens = [GAP]
        for word in words:
            self.tokens += [BYTES[byte] for byte in word] + [GAP]
        self.left = list(range(-1, len(self.tokens) - 1))
        self.right = list(range(1, len(self.tokens) + 1))

    def pair(self, place: int) -> Merge:
        """The token at a place and its right neighbor."""
        return self.tokens[place], self.tokens[self.right[place]]

    def merge(self, place: int) -> None:
        """Merge the token at a place with its right neighbor."""
        gone = self.right[place]
        after = self.right[gone]
        self.tokens[place] += self.tokens[gone]
        self.tokens[gone] = GAP
        self.right[place], self.left[after] = after, place
