"""Words as linked lists of tokens, so that a merge takes the same time in a word of any length."""

from collections.abc import Iterable

Merge = tuple[bytes, bytes]  # two neighboring tokens that become one
BYTES = [bytes([byte]) for byte in range(256)]
GAP = b""


class LinkedTokens:
    """The tokens of words, at first their bytes.

    `tokens[p]` is the token that starts at position p. The next one starts at p + len(tokens[p]), the previous one at
    `left[p]`. There is a `GAP` before and after each word, and at positions inside a token.
    """

    def __init__(self, words: Iterable[bytes]):
        self.tokens = [GAP]
        for word in words:
            self.tokens += [BYTES[byte] for byte in word] + [GAP]
        self.left = list(range(-1, len(self.tokens) - 1))

    def pair(self, position: int) -> Merge:
        """The token at a position and the next one."""
        token = self.tokens[position]
        return token, self.tokens[position + len(token)]

    def merge(self, position: int, merged: bytes) -> None:
        """Put `merged` in place of the token at a position and the next one."""
        self.tokens[position + len(self.tokens[position])] = GAP
        self.tokens[position] = merged
        self.left[position + len(merged)] = position
