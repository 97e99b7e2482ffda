"""Merging one word: of all pairs of neighbors that are a merge, the one learned first, again and again.

A mispredicted branch costs as much as dozens of instructions. Whether a pair is a merge, and which merge is the
earliest, cannot be predicted, so nothing here branches on them.
"""

from typing import NamedTuple

import numpy as np

from minlm.fast.tokenization.kernels.compiler import equal_among_4, highest_bit, kernel, least_of_8, lowest_bit, natural
from minlm.fast.tokenization.kernels.word_table import MULTIPLY_1

FEW = 60  # bytes up to which comparing all merges finds the next one faster than a heap does
NO_MERGE = np.iinfo(np.int64).max
ID_SHIFT, RANK_SHIFT = 6, 38  # the integer of a merge has, from the lowest bits: a place below 64, the new id, its rank
EDGE = (1 << 31) - 1  # an id that is merged with nothing; all others are less
IN_BUCKET = 4  # pairs in a bucket
ID, MERGE = 0, 1  # rows of `work`
LEFT, RIGHT = 2, 3  # more rows, for long words


class Merges(NamedTuple):
    """The merges, and work space for one word."""

    byte_ids: np.ndarray  # int64 (256,): the id of each byte
    pairs: np.ndarray  # int64 (8 · buckets,); see `fill_pairs`
    work: np.ndarray  # int64 (4, longest word); has the ids of the word merged last
    heap: np.ndarray  # int64 (2 · longest word,)


@kernel
def fill_pairs(lefts, rights, merged, pairs):
    """Fill the hash table of merges in which `find_merge` looks up a pair of ids.

    A bucket has 64 bytes, one cache line: four pairs, then what they become.

    Args:
        lefts, rights, merged: int64; merge k makes the id merged[k] of lefts[k] and rights[k].
        pairs: int64 (8 · buckets,); the number of buckets is a power of two, with room for twice the merges or more.
    """
    for i in range(pairs.size):
        pairs[i] = NO_MERGE if i & IN_BUCKET else -1
    for rank in range(lefts.size):
        key = lefts[rank] << 32 | rights[rank]
        place = bucket_of(key, pairs)
        while pairs[place] != -1:
            place += 1
            if place & IN_BUCKET:  # on to the next bucket
                place = (place + IN_BUCKET) & (pairs.size - 1)
        pairs[place] = key
        pairs[place + IN_BUCKET] = rank << RANK_SHIFT | merged[rank] << ID_SHIFT


@kernel
def bucket_of(key, pairs):
    """Where the bucket of a pair starts."""
    return natural((key * MULTIPLY_1 >> 32) & (pairs.size - 2 * IN_BUCKET))


@kernel
def find_merge(left, right, pairs):
    """The merge of two ids, an integer that is less for earlier merges; or `NO_MERGE`.

    Half of all pairs are no merge. The only branch is on whether a bucket is full, which few are.
    """
    key = left << 32 | right
    bucket = bucket_of(key, pairs)
    while True:
        equal = equal_among_4(pairs, bucket, key)
        nowhere = equal - 1 >> 63  # all bits if none is equal, else no bit
        which = lowest_bit(equal) & (IN_BUCKET - 1)
        found = pairs[natural(bucket + IN_BUCKET + which)] | (nowhere & NO_MERGE)
        if pairs[natural(bucket + IN_BUCKET - 1)] == -1 or equal != 0:
            return found
        bucket = natural((bucket + 2 * IN_BUCKET) & (pairs.size - 1))


@kernel
def merge_word(text, start, length, merges):
    """Encode one word into work[ID]; return the number of ids."""
    byte_ids, pairs, work, heap = merges
    if length <= FEW:
        for i in range(length):
            work[ID, natural(i + 1)] = byte_ids[text[natural(start + i)]]
        return merge_by_comparing(length, pairs, work)
    for i in range(length):
        work[ID, i] = byte_ids[text[start + i]]
    return merge_with_heap(length, pairs, work, heap)


@kernel
def merge_by_comparing(length, pairs, work):
    """Merge the ids in work[ID, 1:length + 1], each time the least of all merges; best for short words.

    Nothing is moved: bit i of `alive` says that an id starts at place i. Its merge with the next id is in
    work[MERGE, i] and has i in its lowest bits, so the least of them says what to merge and where. With an EDGE on both
    sides, every id has two neighbors.
    """
    work[ID, 0] = work[ID, natural(length + 1)] = EDGE
    for k in range(8):
        work[MERGE, natural(length + k)] = NO_MERGE
    work[MERGE, 0] = NO_MERGE
    for i in range(1, length):
        work[MERGE, natural(i)] = find_merge(work[ID, natural(i)], work[ID, natural(i + 1)], pairs) | i
    alive = (1 << length + 2) - 1
    while True:
        least = NO_MERGE
        for i in range(0, length, 8):
            least = min(least, least_of_8(work[MERGE], i))
        if least == NO_MERGE:
            break
        place = natural(least & ((1 << ID_SHIFT) - 1))
        new = least >> ID_SHIFT & EDGE
        later = alive & (-2 << place)
        second, next_one = natural(lowest_bit(later)), natural(lowest_bit(later & (later - 1)))
        alive ^= 1 << second
        before = natural(highest_bit(alive & ((1 << place) - 1)))
        work[ID, place] = new
        work[MERGE, second] = NO_MERGE
        work[MERGE, place] = find_merge(new, work[ID, next_one], pairs) | place
        work[MERGE, before] = find_merge(work[ID, before], new, pairs) | before
    count = 0
    for i in range(1, length + 1):
        work[ID, natural(count)] = work[ID, natural(i)]
        count += alive >> i & 1
    return count


@kernel
def merge_with_heap(length, pairs, work, heap):
    """Merge the ids in work[ID] in n log n steps, for words of any length.

    The ids are a linked list: the left and right neighbor of place i are work[LEFT, i] and work[RIGHT, i]. A
    candidate in the heap is rank << 32 | place of the left id; one that is out of date is skipped when it comes up.
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
        if merge >> RANK_SHIFT != candidate >> 32:
            continue
        after = work[RIGHT, second]
        work[ID, place] = merge >> ID_SHIFT & EDGE
        work[ID, second] = -1  # gone
        work[RIGHT, place] = after
        if after < length:
            work[LEFT, after] = place
            size = push_merge(place, after, pairs, work, heap, size)
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
    """Put the merge of two neighbors, if there is one, into the heap; return the new size of the heap."""
    merge = find_merge(work[ID, place], work[ID, second], pairs)
    if merge == NO_MERGE:
        return size
    candidate = merge >> RANK_SHIFT << 32 | place
    i = size
    while i > 0 and heap[(i - 1) >> 1] > candidate:
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i] = candidate
    return size + 1


@kernel
def pop(heap, size):
    """Remove the least element of a heap; return the new size."""
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
