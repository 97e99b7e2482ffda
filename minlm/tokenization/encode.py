"""Encoding: the bytes of each word are merged in the order in which training merged them. Decoding joins tokens."""

import heapq
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from minlm.tokenization.linked_tokens import GAP, LinkedTokens, Merge
from minlm.tokenization.patterns import word_finder
from minlm.tokenization.pretokenize import PreTokenizer

CACHED_WORDS = 1 << 16
CACHED_CHARS = 64  # longer words seldom occur twice


def merge_word(word: bytes, ranks: Mapping[Merge, int]) -> list[bytes]:
    """The tokens of one word.

    Of all neighbors that can be merged, the pair that was learned first (the lowest rank) is merged, the leftmost of
    several, until no pair is a merge. The heap makes this n log n, so a word of a megabyte is no problem.
    """
    linked = LinkedTokens([word])
    heap = [(ranks[pair], position) for position, pair in enumerate(pairwise(linked.tokens)) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        rank, position = heapq.heappop(heap)
        pair = linked.pair(position)
        if ranks.get(pair) != rank:  # a neighbor has taken one of the two
            continue
        linked.merge(position, pair[0] + pair[1])
        for start in (linked.left[position], position):
            if (new_pair := linked.pair(start)) in ranks:
                heapq.heappush(heap, (ranks[new_pair], start))
    return [token for token in linked.tokens if token != GAP]


class Encoder:
    """Encodes texts, with a cache of the words met so far.

    Args:
        ids: token → id; has all 256 single bytes.
        merges: pairs of tokens in the order in which they were learned.
        special_tokens: strings that are one token wherever they occur.
        pattern: see `word_finder`.
    """

    def __init__(
        self, ids: Mapping[bytes, int], merges: Sequence[Merge], special_tokens: Sequence[str], pattern: str = "gpt2"
    ):
        self._ids, self._special_tokens = ids, set(special_tokens)
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._pretokenizer, self._find_words = PreTokenizer(special_tokens), word_finder(pattern)
        self._cache: dict[str, list[int]] = {}

    def encode(self, text: bytes, errors: str = "strict") -> "array[int]":
        """The ids of UTF-8 text.

        Raises:
            UnicodeDecodeError: a byte is not UTF-8. With `errors="surrogateescape"`, it counts as punctuation.
        """
        ids = array("I")  # unsigned, 4 bytes each
        for part in self._pretokenizer.split(str(text, "utf-8", errors)):
            if part in self._special_tokens:
                ids.append(self._ids[part.encode()])
                continue
            for word in self._find_words(part):
                ids.extend(self._cache.get(word) or self._encode_word(word))
        return ids

    def _encode_word(self, word: str) -> list[int]:
        ids = [self._ids[token] for token in merge_word(word.encode("utf-8", "surrogateescape"), self._ranks)]
        if len(word) <= CACHED_CHARS:
            if len(self._cache) >= CACHED_WORDS:
                self._cache.clear()
            self._cache[word] = ids
        return ids


def decode(ids: Iterable[int], vocab: Mapping[int, bytes]) -> bytes:
    """The bytes of all tokens, joined; raises `KeyError` for an id without a token."""
    return b"".join([vocab[index] for index in ids])
