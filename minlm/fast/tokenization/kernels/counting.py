"""Counting words: the VALUE of an entry is how often its word has occurred."""

from minlm.fast.tokenization.kernels.compiler import kernel
from minlm.fast.tokenization.kernels.instructions import natural
from minlm.fast.tokenization.kernels.word_table import (
    BATCH,
    DATA,
    FIELDS,
    KEY_HIGH,
    KEY_LOW,
    LONG,
    NUM_ENTRIES,
    POOL_BYTES,
    VALUE,
    compute_keys,
    find_slot,
    insert,
)


@kernel
def add_counts(text, bounds, first, num_words, amounts, table, pool, used, keys):
    """Count words.

    Args:
        text, bounds: the words; see `compute_keys`.
        first, num_words: the words to add are first … num_words - 1.
        amounts: int64; how often each word occurs, or one number for all.
        table, pool, used: the hash table; see `word_table`.
        keys: int64 (3 * BATCH,); work space.

    Returns:
        The number of words counted so far. If it is less than `num_words`, the table or the pool is full.
    """
    amount = amounts[0]
    for begin in range(first, num_words, BATCH):
        end = min(begin + BATCH, num_words)
        if 2 * (used[NUM_ENTRIES] + BATCH) * FIELDS > table.size:
            return begin
        if used[POOL_BYTES] + bounds[end] - bounds[begin] > pool.size:
            return begin
        compute_keys(text, bounds, begin, end, table, keys)
        for k in range(end - begin):
            at = natural(3 * k)
            low, high, slot = keys[at], keys[at + 1], natural(keys[at + 2])
            if table[slot + KEY_LOW] != low or table[slot + KEY_HIGH] != high or high < 0:
                start = bounds[begin + k]
                slot = natural(find_slot(low, high, slot, text, start, table, pool))
                if table[slot + KEY_HIGH] == 0:
                    insert(low, high, slot, text, start, table, pool, used)
            if amounts.size > 1:
                amount = amounts[begin + k]
            table[slot + VALUE] += amount
    return num_words


@kernel
def write_words(table, pool, slots, offsets, joined):
    """Write the words of some entries, one after another.

    Args:
        table, pool: the hash table; see `word_table`.
        slots: int64; the entries.
        offsets: int64; word k is written to joined[offsets[k]:offsets[k + 1]].
        joined: uint8.
    """
    for k in range(slots.size):
        slot, start = natural(slots[k]), natural(offsets[k])
        low, high, data = table[slot + KEY_LOW], table[slot + KEY_HIGH], table[slot + DATA]
        if high < 0:
            for i in range(high ^ LONG):
                joined[start + i] = pool[data + i]
        else:
            for i in range(offsets[k + 1] - start):
                joined[start + i] = (low if i < 8 else high) >> 8 * (i & 7) & 255
