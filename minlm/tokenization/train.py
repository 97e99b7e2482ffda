"""Training byte-pair encoding: merge the most frequent pair of neighbors, again and again.

Sennrich et al. 2016 on the bytes of GPT-2's words (Radford et al. 2019). Counting all pairs again for every merge
would take hours. Here a merge touches only the places where its pair stands, and a heap knows the next pair.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minlm.errors import MinlmError
from minlm.files import atomic_write
from minlm.progress import Progress, log
from minlm.tokenization.files import Merge, write_merges, write_vocab
from minlm.tokenization.pretokenize import PreTokenizer
from minlm.tokenization.text import total_bytes
from minlm.tokenization.word_counts import Stopwatch, count_words

Pair = tuple[int, int]
GAP = -1  # stands between two words, and where a token was merged into the one before it


def train_bpe(
    counts: Mapping[bytes, int], vocab_size: int, special_tokens: Sequence[str] = ()
) -> tuple[dict[int, bytes], list[Merge]]:
    """Learn a vocabulary from word counts.

    Of equally frequent pairs the lexicographically greater one (as a pair of byte strings) is merged first. If there
    are fewer pairs than asked for, the vocabulary is smaller and a warning says so.

    Args:
        counts: how often each word occurs.
        vocab_size: bytes, special tokens and merges together.
        special_tokens: get the ids behind the bytes.

    Returns:
        vocab (id → bytes; ids 0–255 are the bytes, then the special tokens, then the merges) and the merges in order.

    Raises:
        MinlmError: `vocab_size` is too small, or a special token is a single byte.
    """
    vocab = initial_vocab(vocab_size, special_tokens)
    merges: list[Merge] = []
    words = _Words(counts)
    heap = [_Candidate(count, pair, vocab) for pair, count in words.pair_counts.items()]
    heapq.heapify(heap)
    with Progress(vocab_size - len(vocab), "training", "merges") as progress:
        while len(vocab) < vocab_size and (pair := _pop_best(heap, words.pair_counts)):
            merged = len(vocab)
            merges.append((vocab[pair[0]], vocab[pair[1]]))
            vocab[merged] = vocab[pair[0]] + vocab[pair[1]]
            for new_pair in words.merge(pair, merged):
                heapq.heappush(heap, _Candidate(words.pair_counts[new_pair], new_pair, vocab))
            progress.update(1)
    if len(vocab) < vocab_size:
        log.warning(
            f"warning: the text has only {len(merges):,} pairs to merge, so the vocabulary has {len(vocab):,} tokens "
            f"instead of {vocab_size:,}"
        )
    return vocab, merges


def initial_vocab(vocab_size: int, special_tokens: Sequence[str]) -> dict[int, bytes]:
    """The bytes, then the special tokens; checks that they fit into `vocab_size` and can be told apart."""
    PreTokenizer(special_tokens)  # complains about empty and repeated ones
    smallest = 256 + max(len(special_tokens), 1)
    if vocab_size < smallest:
        raise MinlmError(f"vocab_size must be at least {smallest} (256 bytes and the special tokens), not {vocab_size}")
    vocab = {byte: bytes([byte]) for byte in range(256)}
    for token in special_tokens:
        if len(token.encode()) == 1:
            raise MinlmError(f"the special token {token!r} is a single byte, which is a token already; name another")
        vocab[len(vocab)] = token.encode()
    return vocab


class _Candidate:
    """A pair in the heap. The most frequent is the least, so that it comes first; then the greater byte strings."""

    __slots__ = ("count", "pair", "spelling")

    def __init__(self, count: int, pair: Pair, vocab: dict[int, bytes]):
        self.count, self.pair = count, pair
        self.spelling = (vocab[pair[0]], vocab[pair[1]])

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


@dataclass
class TrainedFiles:
    """What `train_tokenizer` made, and where its seconds went."""

    vocab_path: Path
    merges_path: Path
    num_tokens: int
    num_merges: int
    seconds: dict[str, float]


def train_tokenizer(
    input_file: str | Path,
    output_dir: str | Path,
    prefix: str | None = None,
    vocab_size: int = 10_000,
    special_tokens: Sequence[str] = ("<|endoftext|>",),
) -> TrainedFiles:
    """Train on a text, or on an `.npz` of word counts, and write `{prefix}vocab.json` and `{prefix}merges.txt`.

    Without `prefix` it is the name of the input: data/train.txt gives train_vocab.json and train_merges.txt.

    Raises:
        MinlmError: see `count_words` and `train_bpe`; or the files cannot be written.
    """
    initial_vocab(vocab_size, special_tokens)  # these two complain before any work is done
    total_bytes([input_file])
    prefix = f"{Path(input_file).stem}_" if prefix is None else prefix
    vocab_path, merges_path = (Path(output_dir) / f"{prefix}{name}" for name in ("vocab.json", "merges.txt"))
    stopwatch = Stopwatch()
    with atomic_write(vocab_path) as vocab_file, atomic_write(merges_path) as merges_file:
        counts = count_words([input_file], special_tokens, stopwatch).counts
        vocab, merges = train_bpe(counts, vocab_size, special_tokens)
        stopwatch.lap("merging")
        write_vocab(vocab_file, vocab)
        write_merges(merges_file, merges)
        stopwatch.lap("writing")
    return TrainedFiles(vocab_path, merges_path, len(vocab), len(merges), stopwatch.seconds)
