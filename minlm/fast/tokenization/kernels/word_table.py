"""A hash table whose keys are words.

Most words have at most 15 bytes. Such a word is its own key: two integers of 8 bytes, with the length in the highest
byte, so two words are compared by comparing two integers. The key of a longer word is a hash and the length; its bytes
are in a pool, for comparison. An entry is half a cache line of 64 bytes, so a look-up waits for memory once. The words
of a text are known before they are looked up, so their entries can be prefetched.
"""

import numpy as np

from minlm.fast.tokenization.kernels.compiler import kernel
from minlm.fast.tokenization.kernels.instructions import load8, lowest_bit, natural, never_inline, prefetch

# The four int64 of an entry. The slot of an entry is the index of the first. A free entry has KEY_HIGH 0. The DATA of a
# long word is the index of its bytes in the pool.
KEY_LOW, KEY_HIGH, VALUE, DATA = 0, 1, 2, 3
FIELDS = 4
FIRST_CAPACITY = 1 << 18  # entries of a new table: 8 MB
NUM_ENTRIES, POOL_BYTES = 0, 1  # what `used` counts
SHORT = 15  # bytes of the longest word that is its own key
LONG = -1 << 56  # in KEY_HIGH of a longer word: the highest byte is 255, which is not the length of a short word
BATCH = 128  # words whose keys are computed before the first of them is looked up
PADDING = 16  # bytes that may be read after the end of a text

# Odd numbers without a pattern, for multiplicative hashing (Knuth, TAOCP 6.4): 2^64 divided by the golden ratio, and pi
MULTIPLY_1, MULTIPLY_2 = 0x9E3779B97F4A7C15 - (1 << 64), 0x517CC1B727220A95

# The bytes of an 8-byte integer that belong to a word of n bytes, in its first and in its second half.
LOW_MASK = np.array([(1 << 8 * min(n, 8)) - 1 for n in range(16)], dtype=np.uint64).view(np.int64)
HIGH_MASK = np.array([(1 << 8 * max(n - 8, 0)) - 1 for n in range(16)], dtype=np.int64)


class WordTable:
    """A hash table of words that grows.

    Attributes:
        table: int64 (FIELDS * capacity,), the entries.
        pool: uint8, the bytes of long words.
        used: int64 (4,), how much of these is in use.
        keys: int64 (3 * BATCH,), work space.
    """

    def __init__(self, pool_bytes: int):
        self.table = np.zeros(FIELDS * FIRST_CAPACITY, dtype=np.int64)
        self.pool = np.empty(pool_bytes, dtype=np.uint8)
        self.used = np.zeros(4, dtype=np.int64)
        self.keys = np.empty(3 * BATCH, dtype=np.int64)

    @property
    def capacity(self) -> int:
        """The number of entries that there is room for."""
        return len(self.table) // FIELDS

    def is_full(self) -> bool:
        """Whether another batch of words could fill more than half of the table."""
        return 2 * (int(self.used[NUM_ENTRIES]) + BATCH) > self.capacity

    def field(self, which: int) -> np.ndarray:
        """One field of all entries."""
        return self.table[which::FIELDS]

    def grow(self, least: int, most: int) -> None:
        """Double the capacity. Entries with a VALUE from `least` to `most` get the best slots."""
        larger = np.zeros(2 * len(self.table), dtype=np.int64)
        move_entries(self.table, least, most, larger)
        self.table = larger


@kernel
def compute_keys(text, bounds, first, last, table, keys):
    """Write the key and the first slot of each word from first to last - 1 to `keys`, and prefetch its entry.

    Args:
        text: uint8, with PADDING after the words.
        bounds: int64; word k is text[bounds[k]:bounds[k + 1]].
        table: int64 (FIELDS * capacity,); the capacity is a power of two.
        keys: int64 (3 * BATCH,).
    """
    start = bounds[natural(first)]
    for k in range(last - first):
        end = bounds[natural(first + k + 1)]
        low, high = word_key(text, start, end - start)
        slot = first_slot(low, high, table)
        prefetch(table, slot * 8)
        at = natural(3 * k)
        keys[at], keys[at + 1], keys[at + 2] = low, high, slot
        start = end


@kernel
def word_key(text, start, length):
    """The two halves of the key of a word."""
    if length <= SHORT:
        n = natural(length)
        return load8(text, start) & LOW_MASK[n], load8(text, start + 8) & HIGH_MASK[n] | n << 56
    return hash_bytes(text, start, length), LONG | length


@kernel
def first_slot(low, high, table):
    """The slot where the search for a key starts: the highest bits of a product, which depend on all bits (Knuth)."""
    mixed = (low ^ (high * MULTIPLY_1)) * MULTIPLY_2
    return (mixed >> (64 - lowest_bit(table.size))) & natural(table.size - FIELDS)


@kernel
def find_slot(low, high, slot, text, start, table, pool):
    """The slot of a word, searched from its first slot on, or the free slot for it.

    Nearly all words are at their first slot. Callers look there themselves and leave the rest to this function, which
    is not inlined into their loops.
    """
    never_inline()
    slot = find_key(low, high, slot, table)
    while high < 0 and table[slot + KEY_HIGH] != 0:
        if same_bytes(text, start, pool, table[slot + DATA], high ^ LONG):
            break
        slot = find_key(low, high, next_slot(slot, table), table)
    return slot


@kernel
def find_key(low, high, slot, table):
    """The slot with this key, searched from `slot` on, or the free slot for it."""
    while table[slot + KEY_HIGH] != 0 and (table[slot + KEY_LOW] != low or table[slot + KEY_HIGH] != high):
        slot = next_slot(slot, table)
    return slot


@kernel
def next_slot(slot, table):
    """The slot to search next."""
    return (slot + FIELDS) & natural(table.size - 1)


@kernel
def insert(low, high, slot, text, start, table, pool, used):
    """Put a word into a free entry; the bytes of a long word go into the pool, which has room."""
    never_inline()
    table[slot + KEY_LOW] = low
    table[slot + KEY_HIGH] = high
    used[NUM_ENTRIES] += 1
    if high < 0:
        table[slot + DATA] = used[POOL_BYTES]
        for i in range(high ^ LONG):
            pool[used[POOL_BYTES] + i] = text[start + i]
        used[POOL_BYTES] += high ^ LONG


@kernel
def hash_bytes(text, start, length):
    """A hash of a long word, 8 bytes at a time; the last 8 may overlap the 8 before."""
    never_inline()
    mixed = length * MULTIPLY_1
    for i in range(start, start + length - 8, 8):
        mixed = (mixed ^ load8(text, i)) * MULTIPLY_2
        mixed ^= mixed >> 32
    return (mixed ^ load8(text, start + length - 8)) * MULTIPLY_2


@kernel
def same_bytes(text, start, pool, pool_start, length):
    """Whether the pool has this word at `pool_start`."""
    for i in range(length):  # noqa: SIM110  (numba has no all())
        if text[start + i] != pool[pool_start + i]:
            return False
    return True


@kernel
def move_entries(table, least, most, larger):
    """Copy all entries to an empty, larger table.

    Those with a VALUE from `least` to `most` come first, so nearly all of them get their first slot.
    """
    for in_range in (True, False):
        for old in range(0, table.size, FIELDS):
            if table[old + KEY_HIGH] != 0 and (least <= table[old + VALUE] <= most) == in_range:
                new = natural(first_slot(table[old + KEY_LOW], table[old + KEY_HIGH], larger))
                while larger[new + KEY_HIGH] != 0:
                    new = natural(next_slot(new, larger))
                for field in range(FIELDS):
                    larger[new + field] = table[old + field]
