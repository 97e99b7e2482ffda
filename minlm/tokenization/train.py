"""Training byte-pair encoding: the most frequent pair of neighboring tokens becomes a token, again and again.

Sennrich et al. 2016, on the bytes of GPT-2's words (Radford et al. 2019).
"""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from minlm.errors import MinlmError
from minlm.progress import Progress, log
from minlm.tokenization.linked_tokens import GAP, LinkedTokens, Merge
from minlm.tokenization.pretokenize import PreTokenizer


class PairIndex:
    """The pairs of neighboring tokens in all distinct words: how often each occurs, and where.

    The places of a pair are in ascending order: both of its tokens exist before the pair does, so one pass from left to
    right finds them all. Later merges can only remove some, which is noticed when the pair's turn comes.
    """

    def __init__(self, word_counts: Mapping[bytes, int]):
        self._words = LinkedTokens(word_counts)
        self._weights = [0]  # how often the word at each place occurs
        for word, count in word_counts.items():
            self._weights += [count] * len(word) + [0]
        self.counts: Counter[Merge] = Counter()
        self._places: dict[Merge, list[int]] = {}
        for place in range(len(self._weights) - 1):
            self._add(place)

    def merge(self, pair: Merge) -> set[Merge]:
        """Merge a pair wherever it occurs, from left to right; return the pairs that this makes."""
        words, new_pairs = self._words, set()
        for place in self._places.pop(pair):
            if words.pair(place) != pair:  # one token was merged with its other neighbor, as in the middle of "aaa"
                continue
            for start in (words.left[place], words.right[place]):
                self.counts[words.pair(start)] -= self._weights[place]
            words.merge(place)
            new_pairs |= {self._add(words.left[place]), self._add(place)}
        del self.counts[pair]
        return {new_pair for new_pair in new_pairs if self.counts[new_pair] > 0}  # none with a gap

    def _add(self, place: int) -> Merge:
        pair = self._words.pair(place)
        if GAP not in pair:
            self.counts[pair] += self._weights[place]
            self._places.setdefault(pair, []).append(place)
        return pair


class Candidate(NamedTuple):
    """A pair in the heap, with a count that is right or too high."""

    frequency: int
    pair: Merge

    def __lt__(self, other: tuple) -> bool:
        """The most frequent pair comes first; of equally frequent ones, the greater pair of byte strings."""
        return self > other


def learn_merges(word_counts: Mapping[bytes, int], num_merges: int, progress: Callable[[int], object]) -> list[Merge]:
    """Learn up to `num_merges` merges, fewer if no pair is left; `progress` is called with the number of new ones.

    Counting all pairs again for each merge would take hours. But a merge makes the pairs that were there before only
    rarer, so a count in the heap can be too high but not too low. A pair whose count is too high goes back in.
    """
    index = PairIndex(word_counts)
    merges: list[Merge] = []
    heap = [Candidate(count, pair) for pair, count in index.counts.items()]
    heapq.heapify(heap)
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


def train_bpe(
    word_counts: Mapping[bytes, int],
    vocab_size: int,
    special_tokens: Sequence[str] = (),
    learn: Callable[..., list[Merge]] = learn_merges,
) -> tuple[dict[int, bytes], list[Merge]]:
    """Learn a vocabulary from word counts.

    Of equally frequent pairs the lexicographically greater one (as a pair of byte strings) is merged first. If there
    are fewer pairs than asked for, the vocabulary is smaller and a warning says so.

    Args:
        word_counts: how often each word occurs.
        vocab_size: number of bytes, special tokens and merges together.
        special_tokens: they get the ids after the bytes.
        learn: `learn_merges`, or a function that returns the same.

    Returns:
        The vocabulary (id → bytes: ids 0–255 are the bytes, then come the special tokens, then the merges) and the
        merges in order.

    Raises:
        MinlmError: `vocab_size` is too small, a special token is a single byte, or there are too many words.
    """
    vocab = initial_vocab(vocab_size, special_tokens)
    with Progress(vocab_size - len(vocab), "training", "merges") as progress:
        merges = learn(word_counts, vocab_size - len(vocab), progress.update)
    for left, right in merges:
        vocab[len(vocab)] = left + right
    if len(vocab) < vocab_size:
        log.warning(
            f"warning: the text has only {len(merges):,} pairs to merge, so the vocabulary has {len(vocab):,} tokens "
            f"instead of {vocab_size:,}"
        )
    return vocab, merges


def initial_vocab(vocab_size: int, special_tokens: Sequence[str]) -> dict[int, bytes]:
    """The bytes, then the special tokens; raises `MinlmError` as `train_bpe` does."""
    PreTokenizer(special_tokens)  # refuses empty and repeated ones
    smallest = 256 + max(len(special_tokens), 1)
    if vocab_size < smallest:
        raise MinlmError(f"vocab_size must be at least {smallest} (256 bytes and the special tokens), not {vocab_size}")
    vocab = {byte: bytes([byte]) for byte in range(256)}
    for token in special_tokens:
        if len(token.encode()) == 1:
            raise MinlmError(f"the special token {token!r} is a single byte, which is a token already; name another")
        vocab[len(vocab)] = token.encode()
    return vocab
