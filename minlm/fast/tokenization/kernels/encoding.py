"""Encoding words: the word table caches the ids of each word, so most words are only looked up.

Ids are cached in the form of the output, 2 or 4 bytes each. Up to 8 bytes of them are in DATA and are written by one
instruction, however many there are. The lowest bits of VALUE are the number of bytes. If there are more than 8, or the
word is long, the bits above are the index of the ids in a pool.
"""

from typing import NamedTuple

import numpy as np

from minlm.fast.tokenization.kernels.compiler import kernel
from minlm.fast.tokenization.kernels.instructions import load8, natural, never_inline, store8
from minlm.fast.tokenization.kernels.word_merging import ID, merge_word
from minlm.fast.tokenization.kernels.word_table import (
    BATCH,
    DATA,
    FIELDS,
    KEY_HIGH,
    KEY_LOW,
    NUM_ENTRIES,
    POOL_BYTES,
    VALUE,
    compute_keys,
    find_slot,
    first_slot,
    insert,
    word_key,
)

POOL_IDS, NUM_OUT = 2, 3  # what `used` also counts: bytes of ids in the pool and in the output
MAX_CACHED = 255  # bytes of the longest word that is cached
SIZE_BITS = 10  # lowest bits of VALUE: up to 255 ids of 4 bytes


class Cache(NamedTuple):
    """The words that were encoded before; see `word_table`."""

    table: np.ndarray
    pool: np.ndarray
    ids_pool: np.ndarray  # uint8
    used: np.ndarray
    keys: np.ndarray


@kernel
def encode_words(text, bounds, first, num_words, merges, cache, id_bytes, out):
    """Write the ids of words to `out`, after its first used[NUM_OUT] bytes.

    Args:
        text, bounds: the words; see `compute_keys`.
        first, num_words: the words to encode are first … num_words - 1.
        merges: `Merges`.
        cache: `Cache`.
        id_bytes: size of an id in `out` and in the cache, 2 or 4.
        out: uint8; has room for one id per byte of the words, and 8 bytes more.

    Returns:
        The number of words encoded so far. If it is less than `num_words`, the cache or the work space is too small.
    """
    table, pool, ids_pool, used, keys = cache
    for begin in range(first, num_words, BATCH):
        end = min(begin + BATCH, num_words)
        if 2 * (used[NUM_ENTRIES] + BATCH) * FIELDS > table.size:
            return begin
        most = BATCH * MAX_CACHED
        if used[POOL_BYTES] + most > pool.size or used[POOL_IDS] + most * id_bytes + 8 > ids_pool.size:
            return begin
        compute_keys(text, bounds, begin, end, table, keys)
        num_out = used[NUM_OUT]
        for k in range(end - begin):
            at = natural(3 * k)
            low, high, slot = keys[at], keys[at + 1], natural(keys[at + 2])
            if table[slot + KEY_LOW] != low or table[slot + KEY_HIGH] != high or high < 0:
                start, length = bounds[begin + k], bounds[begin + k + 1] - bounds[begin + k]
                slot = natural(find_slot(low, high, slot, text, start, table, pool))
                if table[slot + KEY_HIGH] == 0:
                    if length > merges.work.shape[1]:
                        used[NUM_OUT] = num_out
                        return begin + k
                    count = encode_new(low, high, slot, text, start, length, merges, cache, id_bytes)
                    if length > MAX_CACHED:
                        num_out = write_ids(merges.work, count, id_bytes, out, num_out)
                        continue
            value, ids = table[slot + VALUE], table[slot + DATA]
            size = value & ((1 << SIZE_BITS) - 1)
            if value == size:
                store8(out, num_out, ids)
            else:
                for i in range(0, size, 8):
                    store8(out, num_out + i, load8(ids_pool, (value >> SIZE_BITS) + i))
            num_out += size
        used[NUM_OUT] = num_out
    return num_words


@kernel
def encode_new(low, high, slot, text, start, length, merges, cache, id_bytes):
    """Encode a word into work[ID] and, unless it is too long, cache it; return the number of ids."""
    never_inline()
    count = merge_word(text, start, length, merges)
    if length <= MAX_CACHED:
        cache_word(low, high, slot, text, start, merges.work, count, cache, id_bytes)
    return count


@kernel
def cache_word(low, high, slot, text, start, work, count, cache, id_bytes):
    """Fill a free entry with a word and its ids work[ID, :count]."""
    table, pool, ids_pool, used, _ = cache
    insert(low, high, slot, text, start, table, pool, used)
    if high >= 0 and count * id_bytes <= 8:
        table[slot + VALUE] = count * id_bytes
        table[slot + DATA] = 0
        for i in range(count):
            table[slot + DATA] |= work[ID, i] << 8 * id_bytes * i
        return
    used[POOL_IDS] = max(used[POOL_IDS], 1)  # index 0 would look like ids in DATA
    table[slot + VALUE] = used[POOL_IDS] << SIZE_BITS | count * id_bytes
    used[POOL_IDS] = write_ids(work, count, id_bytes, ids_pool, used[POOL_IDS])


@kernel
def write_ids(work, count, id_bytes, out, start):
    """Write the ids work[ID, :count] to `out` from byte `start` on; each overwrites the zeros of the one before."""
    for i in range(count):
        store8(out, start + i * id_bytes, work[ID, i])
    return start + count * id_bytes


@kernel
def cache_special_tokens(text, bounds, ids, work, cache, id_bytes):
    """Cache special tokens: word k has the single id ids[k], whatever the merges say."""
    for k in range(ids.size):
        low, high = word_key(text, bounds[k], bounds[k + 1] - bounds[k])
        first = first_slot(low, high, cache.table)
        slot = find_slot(low, high, first, text, bounds[k], cache.table, cache.pool)
        work[ID, 0] = ids[k]
        cache_word(low, high, slot, text, bounds[k], work, 1, cache, id_bytes)
