"""Counting, learning and encoding with compiled kernels; `plain` has the same in plain Python."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from minlm.errors import MinlmError
from minlm.fast.tokenization.kernels import encoding, merging, word_merging, word_table
from minlm.fast.tokenization.kernels.compiler import compile_all
from minlm.fast.tokenization.kernels.counting import add_counts, write_words
from minlm.fast.tokenization.scanner import Scanner
from minlm.tokenization.vocabulary_files import Merge
from minlm.tokenization.word_counts import WordCounts

FIRST_CAPACITY = 1 << 18  # entries of a new word table; 8 MB
MAX_CAPACITY = 1 << 19  # entries of the word cache when it is emptied: 16 MB for each thread, and as much for pools
FREQUENT = 16  # occurrences of a word by the time that the table is full
NEVER = -1 << 62  # the count with which special tokens begin, so that it never becomes that of a word
MAX_MERGES = (1 << 25) - 1  # as far as `word_merging` can number them
MERGES_AT_ONCE = 64  # between two reports of progress


class _WordTable:
    """The arrays of a hash table of words."""

    def __init__(self, capacity: int, pool_bytes: int):
        self.table = np.zeros(word_table.FIELDS * capacity, dtype=np.int64)
        self.pool = np.empty(pool_bytes, dtype=np.uint8)
        self.used = np.zeros(4, dtype=np.int64)
        self.keys = np.empty(3 * word_table.BATCH, dtype=np.int64)

    def capacity(self) -> int:
        return len(self.table) // word_table.FIELDS

    def is_full(self) -> bool:
        return 2 * (int(self.used[word_table.NUM_ENTRIES]) + word_table.BATCH) > self.capacity()

    def field(self, which: int) -> np.ndarray:
        """One of the int64 of all entries."""
        return self.table[which :: word_table.FIELDS]

    def grow(self, least: int, most: int) -> None:
        """Twice the capacity. Entries with a VALUE in least … most get the best places."""
        larger = np.zeros(2 * len(self.table), dtype=np.int64)
        word_table.move_entries(self.table, least, most, larger)
        self.table = larger


class WordCounter:
    """Counts the words of texts.

    Args:
        special_tokens: where they occur a text is split; they are not counted.
        keep_invalid: take bytes that are not UTF-8 for characters that are neither letters, digits nor white space.
    """

    def __init__(self, special_tokens: Sequence[str], keep_invalid: bool = False):
        self.special_tokens = list(special_tokens)
        self._scanner = Scanner(special_tokens, keep_invalid)
        self._words = _WordTable(FIRST_CAPACITY, pool_bytes=1 << 16)
        self._once = np.ones(1, dtype=np.int64)
        tokens = [token.encode() for token in special_tokens]
        self.add_counts(WordCounts.from_dict(dict.fromkeys(tokens, NEVER)))  # their counts stay below zero
        self.add_text(b"")  # so that kernels are compiled or loaded here: numba cannot in several threads at once

    def buffer(self, size: int) -> np.ndarray:
        """Room for the next text, to be filled and then given to `add_text`."""
        return self._scanner.buffer(size)

    def add_text(self, text: bytes | np.ndarray) -> None:
        """Count the words of a text; raises `InvalidUtf8`."""
        for block, num_words in self._scanner.blocks(text):
            self._add(block, self._scanner.bounds, num_words, self._once)

    def add_counts(self, counts: WordCounts) -> None:
        """Add counts of another text."""
        padded = np.append(counts.joined, np.zeros(word_table.PADDING, dtype=np.uint8))
        self._add(padded, counts.offsets, len(counts.counts), np.append(counts.counts, 0))

    def _add(self, text: np.ndarray, bounds: np.ndarray, num_words: int, amounts: np.ndarray) -> None:
        words, done = self._words, 0
        while True:
            done = add_counts(
                text, bounds, done, num_words, amounts, words.table, words.pool, words.used, words.keys
            )  # fmt: skip
            if done == num_words:
                return
            if words.is_full():
                words.grow(FREQUENT, np.iinfo(np.int64).max)
            else:
                batch = bounds[min(done + word_table.BATCH, num_words)] - bounds[done]
                words.pool = np.append(words.pool, np.empty(len(words.pool) + batch, dtype=np.uint8))

    def counts(self, in_order: bool = True) -> WordCounts:
        """What has been counted so far: the words of up to 15 bytes in their order, then the longer ones in theirs."""
        words = self._words
        entries = np.flatnonzero(words.field(word_table.VALUE) > 0)
        if in_order:
            entries = self._in_order(entries)
        high = words.field(word_table.KEY_HIGH)[entries]
        lengths = np.where(high > 0, high >> 56, high ^ word_table.LONG)
        offsets = np.append(0, np.cumsum(lengths))
        joined = np.empty(offsets[-1], dtype=np.uint8)
        write_words(words.table, words.pool, entries * word_table.FIELDS, offsets, joined)
        return WordCounts(joined, offsets, words.field(word_table.VALUE)[entries], self.special_tokens)

    def _in_order(self, entries: np.ndarray) -> np.ndarray:
        pool = self._words.pool
        low, high, _, place = self._words.table.reshape(-1, word_table.FIELDS).T
        short, long = entries[high[entries] > 0], entries[high[entries] < 0]
        # as big-endian numbers the keys sort like the words
        order = np.lexsort([half[short].astype("<i8").view(">u8").astype(np.uint64) for half in (high, low)])

        def word(entry: int) -> bytes:
            return pool[place[entry] : place[entry] + (high[entry] ^ word_table.LONG)].tobytes()

        return np.concatenate([short[order], np.array(sorted(long.tolist(), key=word), dtype=np.int64)])


def learn_merges(counts: WordCounts, num_merges: int, progress: Callable[[int], None]) -> list[Merge]:
    """Learn up to `num_merges` merges; fewer if there are no more pairs. `progress` is told of new ones."""
    size = len(counts.joined) + len(counts.counts) + 1
    if size > np.iinfo(np.int32).max:
        raise MinlmError(
            f"the different words have {size:,} bytes together; training is made for up to 2,147,483,647. Count a part "
            "of the text: a tokenizer learns no more from the rest"
        )
    number_of = np.full(1 << 16, merging.NO_PAIR, dtype=np.int32)
    capacity = max(len(number_of), 1 << 16)
    arrays = merging.Merging(
        text=np.empty(size, dtype=np.uint8),
        counts=counts.counts,
        places=np.empty((size, 4), dtype=np.int32),
        tokens=np.full((5, 256 + num_merges), merging.NO_PAIR, dtype=np.int64),
        pairs=np.empty((5, capacity), dtype=np.int64),
        occurrences=np.empty(3 * size, dtype=np.int32),
        heap=np.empty((2, capacity), dtype=np.int64),
        merged=np.empty(size, dtype=np.int32),
        state=np.zeros(5, dtype=np.int64),
    )
    merging.place_words(counts.joined, counts.offsets, arrays.text, arrays.places)
    merging.find_first_pairs(arrays, number_of)
    outcome, done = 0, 0
    while outcome != 1 and done < num_merges:
        outcome = merging.learn_merges(arrays, 256 + min(done + MERGES_AT_ONCE, num_merges))
        if outcome == 2:
            arrays = arrays._replace(pairs=_doubled(arrays.pairs), heap=_doubled(arrays.heap))
        now = int(arrays.state[merging.NUM_TOKENS]) - 256
        progress(now - done)
        done = now
    text = arrays.text.tobytes()
    starts, lengths, splits = arrays.tokens[:3, 256 : 256 + done].tolist()
    return [
        (text[start : start + split], text[start + split : start + length])
        for start, length, split in zip(starts, lengths, splits, strict=True)
    ]


def _doubled(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows, np.empty_like(rows)], axis=1)


class WordEncoder:
    """Encodes texts; remembers the ids of the words it has met.

    Args:
        byte_ids: the id of each byte.
        merges: (left id, right id, id of both) in the order they were learned.
        special_ids: the ids of special tokens.
        keep_invalid: as for `WordCounter`.
    """

    def __init__(
        self,
        byte_ids: Sequence[int],
        merges: Sequence[tuple[int, int, int]],
        special_ids: Mapping[str, int],
        keep_invalid: bool = False,
    ):
        self._scanner = Scanner(list(special_ids), keep_invalid)
        lefts, rights, merged = np.array(merges, dtype=np.int64).reshape(-1, 3).T.copy()
        largest = max(max(byte_ids), merged.max(initial=0), *special_ids.values(), 0)
        if largest >= word_merging.EDGE or len(merges) > MAX_MERGES:
            raise MinlmError(
                f"a vocabulary with {len(merges):,} merges and ids up to {largest:,} is too large: at most "
                f"{MAX_MERGES:,} merges and ids up to {word_merging.EDGE - 1:,}"
            )
        pairs = np.empty(2 << (2 * len(merges) + 8).bit_length(), dtype=np.int64)
        word_merging.fill_pairs(lefts, rights, merged, pairs)
        self._merges = word_merging.Merges(np.array(byte_ids, dtype=np.int64), pairs, *_work_space(1 << 10))
        self._special_words = b"".join(token.encode() for token in special_ids) + bytes(word_table.PADDING)
        self._special_bounds = np.cumsum([0, *(len(token.encode()) for token in special_ids)], dtype=np.int64)
        self._special_ids = np.array(list(special_ids.values()), dtype=np.int64)
        self._dtype = np.dtype(np.uint16 if largest <= np.iinfo(np.uint16).max else np.uint32)
        self._start_cache()
        self.encode(b"")  # see WordCounter

    def _start_cache(self) -> None:
        self._words = _WordTable(FIRST_CAPACITY, pool_bytes=(1 << 22) + 2 * len(self._special_words))
        self._ids_pool = np.empty(1 << 24, dtype=np.uint8)
        encoding.remember_tokens(
            np.frombuffer(self._special_words, dtype=np.uint8), self._special_bounds, self._special_ids,
            self._merges.work, self._cache(), self._dtype.itemsize,
        )  # fmt: skip

    def _cache(self) -> encoding.Cache:
        words = self._words
        return encoding.Cache(words.table, words.pool, self._ids_pool, words.used, words.keys)

    def buffer(self, size: int) -> np.ndarray:
        """Room for the next text, to be filled and then given to `encode`."""
        return self._scanner.buffer(size)

    def encode(self, text: bytes | np.ndarray) -> np.ndarray:
        """The ids of a text, uint16 or, if some do not fit, uint32; raises `InvalidUtf8`."""
        out = np.empty(len(text) * self._dtype.itemsize + 8, dtype=np.uint8)
        self._words.used[encoding.NUM_OUT] = 0
        for block, num_words in self._scanner.blocks(text):
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
        """What the next words lack: work space for a long one, or room in the cache, which is emptied when large."""
        batch = self._scanner.bounds[done : min(done + word_table.BATCH, num_words) + 1]
        longest = int(np.diff(batch).max())
        if longest > self._merges.work.shape[1]:
            work, heap = _work_space(2 * longest)
            self._merges = self._merges._replace(work=work, heap=heap)
        elif self._words.is_full() and self._words.capacity() < MAX_CAPACITY:
            self._words.grow(0, self._dtype.itemsize)  # words of one id are frequent
        else:
            num_out = self._words.used[encoding.NUM_OUT]
            self._start_cache()
            self._words.used[encoding.NUM_OUT] = num_out


def _work_space(longest_word: int) -> tuple[np.ndarray, np.ndarray]:
    """`work` and `heap` of `word_merging.Merges`."""
    return np.empty((4, longest_word), dtype=np.int64), np.empty(2 * longest_word, dtype=np.int64)


def _use_all_kernels() -> None:
    counter = WordCounter(["<|endoftext|>"])
    counter.add_text(b"the quick brown fox")
    counter.add_counts(counter.counts())
    counter._words.grow(0, 1)
    learn_merges(counter.counts(), 3, lambda merges: None)
    WordEncoder(range(256), [(104, 101, 256)], {"<|endoftext|>": 257}).encode(b"the lazy dog")


compile_all(_use_all_kernels)
