"""Counting, learning and encoding in plain Python: short, slow, and the reference for `fast`."""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from minlm.fast.tokenization.ranges import InvalidUtf8
from minlm.tokenization.pretokenize import PreTokenizer, find_words
from minlm.tokenization.vocabulary_files import Merge
from minlm.tokenization.word_counts import WordCounts

SHORT = 15  # bytes; in a file of counts the words of up to so many come first, because `fast` keeps them apart
CACHED_WORDS = 1 << 16
CACHED_WORD_CHARS = 64

Pair = tuple[int, int]
GAP = -1  # stands between two words, and where a token was merged into the one before it


def _decode(text: bytes | np.ndarray, keep_invalid: bool) -> str:
    if isinstance(text, np.ndarray):
        text = text.tobytes()
    try:
        return text.decode("utf-8", "surrogateescape" if keep_invalid else "strict")
    except UnicodeDecodeError as error:
        raise InvalidUtf8(error.start) from None


class WordCounter:
    """Counts the words of texts; see `fast.WordCounter`."""

    def __init__(self, special_tokens: Sequence[str], keep_invalid: bool = False):
        self.special_tokens, self.keep_invalid = list(special_tokens), keep_invalid
        self._pretokenizer = PreTokenizer(special_tokens)
        self._counts: Counter[bytes] = Counter()

    def buffer(self, size: int) -> np.ndarray:
        """Room for the next text."""
        return np.empty(size, dtype=np.uint8)

    def add_text(self, text: bytes | np.ndarray) -> None:
        """Count the words of a text; raises `InvalidUtf8`."""
        for part in self._pretokenizer.split(_decode(text, self.keep_invalid))[::2]:
            self._counts.update(word.encode("utf-8", "surrogateescape") for word in find_words(part))

    def add_counts(self, counts: WordCounts) -> None:
        """Add counts of another text."""
        self._counts.update(counts.as_dict())

    def counts(self, in_order: bool = True) -> WordCounts:
        """What has been counted so far."""
        words = sorted(self._counts, key=lambda word: (len(word) > SHORT, word)) if in_order else self._counts
        return WordCounts.from_dict({word: self._counts[word] for word in words}, self.special_tokens)


def learn_merges(counts: WordCounts, num_merges: int, progress: Callable[[int], None]) -> list[Merge]:
    """Learn up to `num_merges` merges; see `fast.learn_merges`.

    Counting all pairs again for every merge would take hours. Here a merge touches only the places where its pair
    stands, and a heap knows the next pair.
    """
    tokens = [bytes([byte]) for byte in range(256)]
    merges: list[Merge] = []
    words = _Words(counts.as_dict())
    heap = [_Candidate(count, pair, tokens) for pair, count in words.pair_counts.items()]
    heapq.heapify(heap)
    while len(merges) < num_merges and (pair := _pop_best(heap, words.pair_counts)):
        merges.append((tokens[pair[0]], tokens[pair[1]]))
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        for new_pair in words.merge(pair, len(tokens) - 1):
            heapq.heappush(heap, _Candidate(words.pair_counts[new_pair], new_pair, tokens))
        progress(1)
    return merges


class _Candidate:
    """A pair in the heap. The most frequent is the least, so that it comes first; then the greater byte strings."""

    __slots__ = ("count", "pair", "spelling")

    def __init__(self, count: int, pair: Pair, tokens: list[bytes]):
        self.count, self.pair = count, pair
        self.spelling = (tokens[pair[0]], tokens[pair[1]])

    def __lt__(self, other: "_Candidate") -> bool:
        return self.count > other.count or (self.count == other.count and self.spelling > other.spelling)


def _pop_best(heap: list[_Candidate], pair_counts: dict[Pair, int]) -> Pair | None:
    """The most frequent pair, or None if there is no pair left.

    Merges make known pairs rarer, never more frequent, so a candidate's count is right or too high: if it is too
    high when it comes up, it goes back with the right one.
    """
    while heap:
        best = heapq.heappop(heap)
        count = pair_counts[best.pair]
        if count == 0:
            continue
        if count == best.count:
            return best.pair
        best.count = count
        heapq.heappush(heap, best)
    return None


class _Words:
    """All distinct words one behind the other, as a doubly linked list of tokens.

    Place p has `token[p]`, its neighbors `left[p]` and `right[p]`, and how often its word occurs, `weight[p]`.
    Words have a `GAP` before and behind them. `places[pair]` lists, in ascending order, where the pair's first token
    stands or once stood: both tokens of a pair exist before the pair does, so all its places come up in one pass,
    from left to right, and later ones can only vanish.
    """

    def __init__(self, counts: Mapping[bytes, int]):
        self.token, self.weight = [GAP], [0]
        for word, count in counts.items():
            self.token += [*word, GAP]
            self.weight += [count] * len(word) + [0]
        self.left = list(range(-1, len(self.token) - 1))
        self.right = list(range(1, len(self.token) + 1))
        self.pair_counts: dict[Pair, int] = {}
        self.places: dict[Pair, list[int]] = {}
        for place in range(len(self.token) - 1):
            self._add(place, place + 1, self.weight[place])

    def _add(self, place: int, behind: int, weight: int) -> Pair | None:
        """A new pair stands at `place`; None if one half is a gap."""
        pair = (self.token[place], self.token[behind])
        if GAP in pair:
            return None
        self.pair_counts[pair] = self.pair_counts.get(pair, 0) + weight
        self.places.setdefault(pair, []).append(place)
        return pair

    def _remove(self, pair: Pair, weight: int) -> None:
        if GAP not in pair:
            self.pair_counts[pair] -= weight

    def merge(self, pair: Pair, merged: int) -> set[Pair]:
        """Put the token `merged` wherever `pair` stands, from left to right; returns the pairs that are new."""
        token, left, right = self.token, self.left, self.right
        new_pairs: set[Pair | None] = set()
        for place in self.places.pop(pair):
            second = right[place]
            if (token[place], token[second]) != pair:  # gone: merged with a neighbor, or the middle of "aaa"
                continue
            before, behind, weight = left[place], right[second], self.weight[place]
            self._remove((token[before], pair[0]), weight)
            self._remove((pair[1], token[behind]), weight)
            token[place], token[second] = merged, GAP
            right[place], left[behind] = behind, place
            new_pairs |= {self._add(before, place, weight), self._add(place, behind, weight)}
        self.pair_counts[pair] = 0
        return {new_pair for new_pair in new_pairs if new_pair is not None}


class WordEncoder:
    """Encodes texts; see `fast.WordEncoder`."""

    def __init__(
        self,
        byte_ids: Sequence[int],
        merges: Sequence[tuple[int, int, int]],
        special_ids: Mapping[str, int],
        keep_invalid: bool = False,
    ):
        self.keep_invalid = keep_invalid
        self._pretokenizer = PreTokenizer(list(special_ids))
        self._byte_ids, self._special_ids = byte_ids, special_ids
        self._ranks = {(left, right): (rank, both) for rank, (left, right, both) in enumerate(merges)}
        self._cache: dict[str, list[int]] = {}

    def buffer(self, size: int) -> np.ndarray:
        """Room for the next text."""
        return np.empty(size, dtype=np.uint8)

    def encode(self, text: bytes | np.ndarray) -> np.ndarray:
        """The ids of a text, uint32; raises `InvalidUtf8`."""
        ids: list[int] = []
        for number, part in enumerate(self._pretokenizer.split(_decode(text, self.keep_invalid))):
            if number % 2 == 1:
                ids.append(self._special_ids[part])
                continue
            for word in find_words(part):
                ids += self._cache.get(word) or self._encode_word(word)
        return np.array(ids, dtype=np.uint32)

    def _encode_word(self, word: str) -> list[int]:
        ids = self._merge([self._byte_ids[byte] for byte in word.encode("utf-8", "surrogateescape")])
        if len(word) <= CACHED_WORD_CHARS:
            if len(self._cache) >= CACHED_WORDS:
                self._cache.clear()
            self._cache[word] = ids
        return ids

    def _merge(self, tokens: list[int]) -> list[int]:
        """Merge the tokens of one word.

        A linked list and a heap of (rank, place) make this n log n, so that a word of megabytes is no problem.
        """
        end = len(tokens)
        tokens = [*tokens, -1]  # behind the last token, and, as tokens[-1], before the first
        left, right = list(range(-1, end)), list(range(1, end + 2))
        ranks = self._ranks
        heap = [(ranks[pair][0], place) for place, pair in enumerate(pairwise(tokens)) if pair in ranks]
        heapq.heapify(heap)
        while heap:
            rank, place = heapq.heappop(heap)
            second = right[place]
            found = ranks.get((tokens[place], tokens[second]))
            if found is None or found[0] != rank:  # one of the two has been merged with another neighbor
                continue
            behind = right[second]
            tokens[place], tokens[second] = found[1], -1
            right[place], left[behind] = behind, place
            for start, stop in ((left[place], place), (place, behind)):
                if new := ranks.get((tokens[start], tokens[stop])):
                    heapq.heappush(heap, (new[0], start))
        return [token for token in tokens if token >= 0]
