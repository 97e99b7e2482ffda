"""Encoding with a hash table that caches the ids of words."""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

import numpy as np

from minlm.errors import MinlmError
from minlm.fast.tokenization.kernels import encoding, word_merging, word_table
from minlm.fast.tokenization.scanner import Scanner
from minlm.tokenization.linked_tokens import BYTES, Merge

MAX_CAPACITY = 1 << 19  # entries; a full table of this size is emptied. 16 MB per thread, and as much for pools
MAX_MERGES = (1 << 25) - 1  # the largest rank that `word_merging` can represent


class Encoder:
    """`minlm.tokenization.encode.Encoder`, compiled.

    Raises:
        MinlmError: there are too many merges, or an id is too large.
    """

    def __init__(
        self, ids: Mapping[bytes, int], merges: Sequence[Merge], special_tokens: Sequence[str], pattern: str = "gpt2"
    ):
        self._scanner = Scanner(special_tokens, pattern)
        special_words = [token.encode() for token in special_tokens]

        def ids_of(tokens: Iterable[bytes]) -> np.ndarray:
            return np.fromiter(map(ids.__getitem__, tokens), dtype=np.int64)

        byte_ids, self._special_ids = ids_of(BYTES), ids_of(special_words)
        lefts, rights = (ids_of(map(itemgetter(half), merges)) for half in (0, 1))
        merged = ids_of(map(b"".join, merges))
        largest = int(max(byte_ids.max(), merged.max(initial=0), self._special_ids.max(initial=0)))
        if largest >= word_merging.EDGE or len(merges) > MAX_MERGES:
            raise MinlmError(
                f"a vocabulary with {len(merges):,} merges and ids up to {largest:,} is too large: at most "
                f"{MAX_MERGES:,} merges and ids up to {word_merging.EDGE - 1:,}"
            )
        pairs = np.empty(2 << (2 * len(merges) + 8).bit_length(), dtype=np.int64)
        word_merging.fill_pairs(lefts, rights, merged, pairs)
        self._merges = word_merging.Merges(byte_ids, pairs, *_work_space(1 << 10))
        self._special_words = np.frombuffer(b"".join(special_words) + bytes(word_table.PADDING), dtype=np.uint8)
        self._special_bounds = np.cumsum([0, *map(len, special_words)], dtype=np.int64)
        self._dtype = np.dtype(np.uint16 if largest <= np.iinfo(np.uint16).max else np.uint32)
        self._start_cache()
        self.encode(b"")  # compiles or loads the kernels now, because numba cannot do that in several threads at once

    def _start_cache(self) -> None:
        self._words = word_table.WordTable(pool_bytes=(1 << 22) + 2 * len(self._special_words))
        self._ids_pool = np.empty(1 << 24, dtype=np.uint8)
        encoding.cache_special_tokens(
            self._special_words, self._special_bounds, self._special_ids, self._merges.work, self._cache(),
            self._dtype.itemsize,
        )  # fmt: skip

    def _cache(self) -> encoding.Cache:
        words = self._words
        return encoding.Cache(words.table, words.pool, self._ids_pool, words.used, words.keys)

    def encode(self, text: bytes | np.ndarray, errors: str = "strict") -> np.ndarray:
        """The ids of UTF-8 text (bytes or uint8), as uint16 or, if the vocabulary needs more, uint32."""
        out = np.empty(len(text) * self._dtype.itemsize + 8, dtype=np.uint8)
        self._words.used[encoding.NUM_OUT] = 0
        for block, num_words in self._scanner.blocks(text, errors):
            done = 0
            while True:
                done = encoding.encode_words(
                    block, self._scanner.bounds, done, num_words, self._merges, self._cache(), self._dtype.itemsize, out
                )
                if done == num_words:
                    break
                self._make_room(done, num_words)
        return out[: self._words.used[encoding.NUM_OUT]].view(self._dtype)

    def _make_room(self, done: int, num_words: int) -> None:
        """Make more work space for a long word, or more room in the table, which is emptied if it is large."""
        batch = self._scanner.bounds[done : min(done + word_table.BATCH, num_words) + 1]
        longest = int(np.diff(batch).max())
        if longest > self._merges.work.shape[1]:
            work, tree = _work_space(2 * longest)
            self._merges = self._merges._replace(work=work, tree=tree)
        elif self._words.is_full() and self._words.capacity < MAX_CAPACITY:
            self._words.grow(0, self._dtype.itemsize)  # words with a single id are the frequent ones
        else:
            num_out = self._words.used[encoding.NUM_OUT]
            self._start_cache()
            self._words.used[encoding.NUM_OUT] = num_out


def _work_space(longest_word: int) -> tuple[np.ndarray, np.ndarray]:
    """`work` and `tree` of `word_merging.Merges`."""
    return np.empty((4, longest_word), dtype=np.int64), np.empty(2 * longest_word, dtype=np.int64)
