"""The arrays of a hash table of words, which `kernels.word_table` describes."""

import numpy as np

from minlm.fast.tokenization.kernels import word_table

FIRST_CAPACITY = 1 << 18  # entries of a new table: 8 MB


class WordTable:
    """A hash table of words that grows.

    Attributes:
        table: int64 (FIELDS * capacity,), the entries.
        pool: uint8, the bytes of long words.
        used: int64 (4,), how much of these is in use.
        keys: int64 (3 * BATCH,), work space.
    """

    def __init__(self, pool_bytes: int):
        self.table = np.zeros(word_table.FIELDS * FIRST_CAPACITY, dtype=np.int64)
        self.pool = np.empty(pool_bytes, dtype=np.uint8)
        self.used = np.zeros(4, dtype=np.int64)
        self.keys = np.empty(3 * word_table.BATCH, dtype=np.int64)

    @property
    def capacity(self) -> int:
        """The number of entries that there is room for."""
        return len(self.table) // word_table.FIELDS

    def is_full(self) -> bool:
        """Whether one more batch of words could fill more than half of the table."""
        return 2 * (int(self.used[word_table.NUM_ENTRIES]) + word_table.BATCH) > self.capacity

    def field(self, which: int) -> np.ndarray:
        """One field of all entries."""
        return self.table[which :: word_table.FIELDS]

    def grow(self, least: int, most: int) -> None:
        """Double the capacity. Entries with a VALUE from `least` to `most` get the best slots."""
        larger = np.zeros(2 * len(self.table), dtype=np.int64)
        word_table.move_entries(self.table, least, most, larger)
        self.table = larger
