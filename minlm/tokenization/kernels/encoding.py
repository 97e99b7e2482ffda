"""Encoding words: an entry of the word table has the ids of its word, so that most words are only looked up.

Ids are kept as they will stand in the output, with 2 or 4 bytes each. Up to 8 bytes of them stand in PLACE and are
written out at once, however many there are. VALUE has the number of bytes in its lowest bits and, above them, where the
pool of ids has them if there are more or the word is long.
"""

from typing import NamedTuple

import numpy as np

from minlm.tokenization.kernels.compiler import kernel, load8, natural, stay_apart, store8
from minlm.tokenization.kernels.word_table import (
    BATCH,
    FIELDS,
    KEY_HIGH,
    KEY_LOW,
    MULTIPLY_1,
    NUM_ENTRIES,
    PLACE,
    POOL_BYTES,
    VALUE,
    find_further,
    first_slot,
    insert,
    prepare,
    word_key,
)  # fmt: skip

POOL_IDS, NUM_OUT = 2, 3  # what `used` counts besides entries and bytes of words: bytes of ids
MAX_CACHED = 255  # bytes of the longest word that gets an entry
SIZE_BITS = 10  # lowest bits of VALUE: up to 255 ids of 4 bytes
MANY = 64  # bytes from which on a heap finds the next merge faster than looking at all
NO_MERGE = np.iinfo(np.int64).max
NO_ROOM, NO_ENTRY = -1, -2  # instead of a slot
ID, MERGE = 0, 1  # rows of `work`
LEFT, RIGHT = 2, 3  # more of them, for long words
KEY, RANK_AND_ID = 0, 1  # the two int64 of an entry of `pairs`; a free one has KEY -1


class Merges(NamedTuple):
    """What a word is merged with."""

    byte_ids: np.ndarray  # int64 (256,): the id of each byte
    pairs: np.ndarray  # int64 (capacity, 2); see `fill_pairs`
    work: np.ndarray  # int64 (4, longest word); work space, the ids of the word merged last
    heap: np.ndarray  # int64 (2 · longest word,); work space


class Cache(NamedTuple):
    """The words that were met; see `word_table`."""

    table: np.ndarray
    pool: np.ndarray
    ids_pool: np.ndarray  # uint8
    used: np.ndarray
    keys: np.ndarray


@kernel
def fill_pairs(lefts, rights, merged, pairs):
    """Fill a hash table of merges, with which `find_merge` looks up a pair of ids.

    Args:
        lefts, rights, merged: int64; merge k makes the id merged[k] of lefts[k] and rights[k].
        pairs: int64 (capacity, 2), full of -1; the capacity is a power of two and twice the number of merges or more.
    """
    for rank in range(lefts.size):
        key = lefts[rank] << 32 | rights[rank]
        slot = pair_slot(key, pairs)
        pairs[slot, KEY] = key
        pairs[slot, RANK_AND_ID] = rank << 32 | merged[rank]


@kernel
def pair_slot(key, pairs):
    """The entry of a pair, or the free one where it belongs."""
    slot = (key * MULTIPLY_1 >> 32) & (pairs.shape[0] - 1)
    while pairs[slot, KEY] != key and pairs[slot, KEY] != -1:
        slot = (slot + 1) & (pairs.shape[0] - 1)
    return slot


@kernel
def find_merge(left, right, pairs):
    """The merge of two ids as rank << 32 | new id, so that the least is the one learned first; or `NO_MERGE`."""
    key = left << 32 | right
    slot = pair_slot(key, pairs)
    return pairs[slot, RANK_AND_ID] if pairs[slot, KEY] == key else NO_MERGE


@kernel
def encode_words(text, bounds, first, num_words, merges, cache, id_bytes, out):
    """Write the ids of words to `out`, behind the used[NUM_OUT] bytes that are there.

    Args:
        text, bounds: the words; see `prepare`.
        first, num_words: the first word to encode, and the end.
        merges: `Merges`.
        cache: `Cache`.
        id_bytes: of an id in `out` and in the cache, 2 or 4.
        out: uint8; has room for an id for each byte of the words, and 8 bytes more.

    Returns:
        How many words are done. If it is less than `num_words`, the cache or the work space needs more room.
    """
    table, pool, ids_pool, used, keys = cache
    for begin in range(first, num_words, BATCH):
        end = min(begin + BATCH, num_words)
        if 2 * (used[NUM_ENTRIES] + BATCH) * FIELDS > table.size:
            return begin
        most = BATCH * MAX_CACHED
        if used[POOL_BYTES] + most > pool.size or used[POOL_IDS] + most * id_bytes + 8 > ids_pool.size:
            return begin
        prepare(text, bounds, begin, end, table, keys)
        num_out = used[NUM_OUT]
        for k in range(end - begin):
            place = natural(3 * k)
            low, high, slot = keys[place], keys[place + 1], keys[place + 2]
            if table[natural(slot) + KEY_LOW] != low or table[natural(slot) + KEY_HIGH] != high or high < 0:
                start, length = bounds[begin + k], bounds[begin + k + 1] - bounds[begin + k]
                slot, count = find_or_encode(low, high, slot, text, start, length, merges, cache, id_bytes)
                if slot == NO_ROOM:
                    used[NUM_OUT] = num_out
                    return begin + k
                if slot == NO_ENTRY:
                    num_out = write_ids(merges.work, count, id_bytes, out, num_out)
                    continue
            value, ids = table[natural(slot) + VALUE], table[natural(slot) + PLACE]
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
def find_or_encode(low, high, slot, text, start, length, merges, cache, id_bytes):
    """The entry of a word, which is made if need be, and 0.

    Or `NO_ROOM` and 0 if the work space is too small; or `NO_ENTRY` and the number of ids, in work[ID], if the word is
    too long to be kept.
    """
    stay_apart()
    slot = find_further(low, high, slot, text, start, cache.table, cache.pool)
    if cache.table[slot + KEY_HIGH] != 0:
        return slot, 0
    if length > merges.work.shape[1]:
        return NO_ROOM, 0
    count = merge_word(text, start, length, merges)
    if length > MAX_CACHED:
        return NO_ENTRY, count
    remember(low, high, slot, text, start, merges.work, count, cache, id_bytes)
    return slot, 0


@kernel
def remember(low, high, slot, text, start, work, count, cache, id_bytes):
    """Make a free entry that of a word with the ids work[ID, :count]."""
    table, pool, ids_pool, used, _ = cache
    insert(low, high, slot, text, start, table, pool, used)
    if high >= 0 and count * id_bytes <= 8:
        table[slot + VALUE] = count * id_bytes
        table[slot + PLACE] = 0
        for i in range(count):
            table[slot + PLACE] |= work[ID, i] << 8 * id_bytes * i
        return
    used[POOL_IDS] = max(used[POOL_IDS], 1)  # place 0 would look like none
    table[slot + VALUE] = used[POOL_IDS] << SIZE_BITS | count * id_bytes
    used[POOL_IDS] = write_ids(work, count, id_bytes, ids_pool, used[POOL_IDS])


@kernel
def write_ids(work, count, id_bytes, out, place):
    """Write the ids work[ID, :count] to `out` from byte `place` on, each over the zeros of the one before."""
    for i in range(count):
        store8(out, place + i * id_bytes, work[ID, i])
    return place + count * id_bytes


@kernel
def remember_tokens(text, bounds, ids, work, cache, id_bytes):
    """Give words the single ids `ids`, whatever the merges say."""
    for k in range(ids.size):
        low, high = word_key(text, bounds[k], bounds[k + 1] - bounds[k])
        first = first_slot(low, high, cache.table)
        slot = find_further(low, high, first, text, bounds[k], cache.table, cache.pool)
        work[ID, 0] = ids[k]
        remember(low, high, slot, text, bounds[k], work, 1, cache, id_bytes)


@kernel
def merge_word(text, start, length, merges):
    """Encode one word into work[ID]; returns the number of ids."""
    byte_ids, pairs, work, heap = merges
    for i in range(length):
        work[ID, i] = byte_ids[text[start + i]]
    if length >= MANY:
        return merge_with_heap(length, pairs, work, heap)
    return merge_by_looking(length, pairs, work)


@kernel
def merge_by_looking(length, pairs, work):
    """Merge the ids in work[ID] by looking for the earliest merge again and again; best for short words."""
    for i in range(length - 1):
        work[MERGE, i] = find_merge(work[ID, i], work[ID, i + 1], pairs)
    while length > 1:
        best = 0
        for i in range(1, length - 1):
            if work[MERGE, i] < work[MERGE, best]:
                best = i
        if work[MERGE, best] == NO_MERGE:
            break
        work[ID, best] = work[MERGE, best] & 0xFFFFFFFF
        length -= 1
        for i in range(best + 1, length):
            work[ID, i] = work[ID, i + 1]
            work[MERGE, i - 1] = work[MERGE, i]
        if best > 0:
            work[MERGE, best - 1] = find_merge(work[ID, best - 1], work[ID, best], pairs)
        if best + 1 < length:
            work[MERGE, best] = find_merge(work[ID, best], work[ID, best + 1], pairs)
    return length


@kernel
def merge_with_heap(length, pairs, work, heap):
    """Merge the ids in work[ID]; n log n, for words without end.

    The ids are a linked list: the left and right neighbor of place i are work[LEFT, i] and work[RIGHT, i]. A
    candidate in the heap is rank << 32 | place of the left id; what is no longer true is noticed when it comes up.
    """
    size = 0
    for i in range(length):
        work[LEFT, i], work[RIGHT, i] = i - 1, i + 1
        if i + 1 < length:
            size = push_merge(i, i + 1, pairs, work, heap, size)
    while size > 0:
        candidate = heap[0]
        size = pop(heap, size)
        place = candidate & 0xFFFFFFFF
        second = work[RIGHT, place]
        if work[ID, place] < 0 or second >= length:
            continue
        merge = find_merge(work[ID, place], work[ID, second], pairs)
        if merge >> 32 != candidate >> 32:
            continue
        behind = work[RIGHT, second]
        work[ID, place] = merge & 0xFFFFFFFF
        work[ID, second] = -1  # gone
        work[RIGHT, place] = behind
        if behind < length:
            work[LEFT, behind] = place
            size = push_merge(place, behind, pairs, work, heap, size)
        if work[LEFT, place] >= 0:
            size = push_merge(work[LEFT, place], place, pairs, work, heap, size)
    count = 0
    for i in range(length):
        if work[ID, i] >= 0:
            work[ID, count] = work[ID, i]
            count += 1
    return count


@kernel
def push_merge(place, second, pairs, work, heap, size):
    """Put the merge of two neighbors into the heap, if there is one; returns the new size of the heap."""
    merge = find_merge(work[ID, place], work[ID, second], pairs)
    if merge == NO_MERGE:
        return size
    candidate = merge >> 32 << 32 | place
    i = size
    while i > 0 and heap[(i - 1) >> 1] > candidate:
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i] = candidate
    return size + 1


@kernel
def pop(heap, size):
    """Remove the least of a heap; returns its new size."""
    size -= 1
    last = heap[size]
    i = 0
    while 2 * i + 1 < size:
        child = 2 * i + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= last:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = last
    return size
