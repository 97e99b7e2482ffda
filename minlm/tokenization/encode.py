"""Encoding: the bytes of each word are merged as training merged them, earlier merges first."""

import heapq
from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise

from minlm.tokenization.linked_tokens import GAP, LinkedTokens, Merge
from minlm.tokenization.pretokenize import PreTokenizer, find_words

REMEMBERED_WORDS = 1 << 16
REMEMBERED_CHARS = 64  # longer words seldom occur twice


def merge_word(word: bytes, ranks: Mapping[Merge, int]) -> list[bytes]:
    """The tokens of one word.

    Of all pairs of neighbors that are a merge, the one learned first (the least rank) is merged, the leftmost of
    several, until none is left. The heap makes this n log n, so a word of a megabyte is no problem.
    """
    linked = LinkedTokens([word])
    heap = [(ranks[pair], place) for place, pair in enumerate(pairwise(linked.tokens)) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        rank, place = heapq.heappop(heap)
        if ranks.get(linked.pair(place)) != rank:  # one of the two was merged with its other neighbor
            continue
        linked.merge(place)
        for start in (linked.left[place], place):
            if (pair := linked.pair(start)) in ranks:
                heapq.heappush(heap, (ranks[pair], start))
    return [token for token in linked.tokens if token != GAP]


class WordEncoder:
    """Encodes texts; remembers the ids of the words it has met.

    Args:
        ids: token → id; has all 256 single bytes.
        merges: pairs of tokens in the order they were learned.
        special_tokens: strings that are one token wherever they occur.
    """

    def __init__(self, ids: Mapping[bytes, int], merges: Sequence[Merge], special_tokens: Sequence[str]):
        self._ids, self._special_tokens = ids, set(special_tokens)
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._pretokenizer = PreTokenizer(special_tokens)
        self._remembered: dict[str, list[int]] = {}

    def encode(self, text: bytes, errors: str = "strict") -> "array[int]":
        """The ids of UTF-8 text.

        Raises:
            UnicodeDecodeError: a byte is not UTF-8; with `errors="surrogateescape"` it is a character like others.
        """
        ids = array("I")  # four bytes each
        for part in self._pretokenizer.split(str(text, "utf-8", errors)):
            if part in self._special_tokens:
                ids.append(self._ids[part.encode()])
                continue
            for word in find_words(part):
                ids.extend(self._remembered.get(word) or self._encode_word(word, errors))
        return ids

    def _encode_word(self, word: str, errors: str) -> list[int]:
        ids = [self._ids[token] for token in merge_word(word.encode("utf-8", errors), self._ranks)]
        if len(word) <= REMEMBERED_CHARS:
            if len(self._remembered) >= REMEMBERED_WORDS:
                self._remembered.clear()
            self._remembered[word] = ids
        return ids
