"""Training byte-pair encoding: the most frequent pair of neighboring tokens becomes a token, again and again.

Sennrich et al. 2016, on the bytes of GPT-2's words (Radford et al. 2019).
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from minlm.tokenization.linked_tokens import GAP, LinkedTokens, Merge


class PairIndex:
    """Where each pair of neighboring tokens occurs in the distinct words, and how often in the text.

    The positions of a pair are in ascending order. Those where a later merge has taken one of its tokens stay in the
    list and are skipped when the pair is merged.
    """

    def __init__(self, word_counts: Mapping[bytes, int]):
        self._words = LinkedTokens(word_counts)
        self._weights = [0]  # how often the word at each position occurs
        for word, count in word_counts.items():
            self._weights += [count] * len(word) + [0]
        self.counts: dict[Merge, int] = defaultdict(int)
        self._positions: dict[Merge, list[int]] = defaultdict(list)
        for position, weight in enumerate(self._weights):
            pair = self._words.pair(position)
            if GAP not in pair:
                self.counts[pair] += weight
                self._positions[pair].append(position)

    def merge(self, pair: Merge) -> list[Merge]:
        """Merge a pair wherever it occurs, from left to right. Returns the pairs that the new token is in."""
        words, counts = self._words, self.counts
        first, second = pair
        merged = first + second
        new_positions: dict[Merge, list[int]] = defaultdict(list)
        for position in self._positions.pop(pair):
            if words.pair(position) != pair:  # a neighbor has taken one of the two, as in the middle of "aaa"
                continue
            weight = self._weights[position]
            left, right = words.left[position], position + len(merged)
            before, after = words.tokens[left], words.tokens[right]
            words.merge(position, merged)
            if before != GAP:
                counts[before, first] -= weight
                counts[before, merged] += weight
                new_positions[before, merged].append(left)
            if after != GAP:
                counts[second, after] -= weight
                counts[merged, after] += weight
                new_positions[merged, after].append(position)
        del counts[pair]
        self._positions |= new_positions
        return [new_pair for new_pair in new_positions if counts[new_pair] > 0]  # the next merge may take it


class Candidate(NamedTuple):
    """A pair in the heap, with its count when it was put there."""

    frequency: int
    pair: Merge

    def __lt__(self, other: tuple) -> bool:
        """The most frequent pair comes first; of equally frequent ones, the greater pair of byte strings."""
        return self > other


def learn_merges(word_counts: Mapping[bytes, int], num_merges: int, progress: Callable[[int], object]) -> list[Merge]:
    """Learn up to `num_merges` merges, fewer if no pair is left; `progress` is called with the number of new ones.

    Counting all pairs again for each merge would take hours. But a merge makes the pairs that already exist rarer,
    never more frequent. So a count in the heap is right or too high; if the best one is too high, the pair goes back
    with the right count.
    """
    index = PairIndex(word_counts)
    heap = [Candidate(count, pair) for pair, count in index.counts.items()]
    heapq.heapify(heap)
    merges: list[Merge] = []
    while heap and len(merges) < num_merges:
        best = heapq.heappop(heap)
        count = index.counts[best.pair]
        if count == best.frequency:
            merges.append(best.pair)
            for pair in index.merge(best.pair):
                heapq.heappush(heap, Candidate(index.counts[pair], pair))
            progress(1)
        elif count > 0:
            heapq.heappush(heap, Candidate(count, best.pair))
    return merges
