"""Merging one word: of all pairs of neighbors that are a merge, the one learned first, again and again.

A mispredicted branch costs as much as dozens of instructions. Whether a pair is a merge, and which merge comes first,
cannot be predicted, so the code for short words does not branch on it.
"""

from typing import NamedTuple

import numpy as np

from minlm.fast.tokenization.kernels.compiler import kernel
from minlm.fast.tokenization.kernels.instructions import equal_among_4, highest_bit, least_of_8, lowest_bit, natural
from minlm.fast.tokenization.kernels.word_table import MULTIPLY_1

SHORT = 60  # bytes of the longest word in which comparing all merges is faster than a tree of them
NO_MERGE = np.iinfo(np.int64).max
ID_SHIFT, RANK_SHIFT = 6, 38  # a merge is one integer; from its lowest bits: a position below 64, the new id, the rank
EDGE = (1 << 31) - 1  # an id that is in no merge; all others are less
IN_BUCKET = 4  # pairs in a bucket
ID, MERGE = 0, 1  # rows of `work`
LEFT, RIGHT = 2, 3  # more rows, for long words


class Merges(NamedTuple):
    """The merges, and work space for one word."""

    byte_ids: np.ndarray  # int64 (256,): the id of each byte
    pairs: np.ndarray  # int64 (8 · buckets,); see `fill_pairs`
    work: np.ndarray  # int64 (4, longest word); row ID has the ids of the latest word
    tree: np.ndarray  # int64 (2 · longest word,)


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
        position = bucket_of(key, pairs)
        while pairs[position] != -1:
            position += 1
            if position & IN_BUCKET:  # on to the next bucket
                position = (position + IN_BUCKET) & (pairs.size - 1)
        pairs[position] = key
        pairs[position + IN_BUCKET] = rank << RANK_SHIFT | merged[rank] << ID_SHIFT


@kernel
def bucket_of(key, pairs):
    """The index at which the bucket of a pair starts."""
    return natural((key * MULTIPLY_1 >> 32) & (pairs.size - 2 * IN_BUCKET))


@kernel
def find_merge(left, right, pairs):
    """The merge of two ids, as an integer that is lower for earlier merges; or `NO_MERGE`.

    Half of all pairs are no merge. The only branch depends on whether the bucket is full, and few are.
    """
    key = left << 32 | right
    bucket = bucket_of(key, pairs)
    while True:
        equal = equal_among_4(pairs, bucket, key)
        nowhere = equal - 1 >> 63  # all bits if none is equal, otherwise none
        which = lowest_bit(equal) & (IN_BUCKET - 1)
        found = pairs[natural(bucket + IN_BUCKET + which)] | (nowhere & NO_MERGE)
        if pairs[natural(bucket + IN_BUCKET - 1)] == -1 or equal != 0:
            return found
        bucket = natural((bucket + 2 * IN_BUCKET) & (pairs.size - 1))


@kernel
def merge_word(text, start, length, merges):
    """Encode one word into work[ID]; return the number of ids."""
    byte_ids, pairs, work, tree = merges
    if length <= SHORT:
        for i in range(length):
            work[ID, natural(i + 1)] = byte_ids[text[natural(start + i)]]
        return merge_by_comparing(length, pairs, work)
    for i in range(length):
        work[ID, i] = byte_ids[text[start + i]]
    return merge_in_tree(length, pairs, work, tree)


@kernel
def merge_by_comparing(length, pairs, work):
    """Merge the ids in work[ID, 1:length + 1], always the least of all merges; fastest for short words.

    Ids are not moved: bit i of `alive` is set if an id starts at position i. Its merge with the next id is
    work[MERGE, i], with i in the lowest bits, so the least of them says what to merge and where. An EDGE on both sides
    gives every id two neighbors.
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
        position = natural(least & ((1 << ID_SHIFT) - 1))
        new = least >> ID_SHIFT & EDGE
        later = alive & (-2 << position)
        second, next_one = natural(lowest_bit(later)), natural(lowest_bit(later & (later - 1)))
        alive ^= 1 << second
        before = natural(highest_bit(alive & ((1 << position) - 1)))
        work[ID, position] = new
        work[MERGE, second] = NO_MERGE
        work[MERGE, position] = find_merge(new, work[ID, next_one], pairs) | position
        work[MERGE, before] = find_merge(work[ID, before], new, pairs) | before
    count = 0
    for i in range(1, length + 1):
        work[ID, natural(count)] = work[ID, natural(i)]
        count += alive >> i & 1
    return count


@kernel
def merge_in_tree(length, pairs, work, tree):
    """Merge the ids in work[ID] in n log n time, for words of any length.

    The ids are a linked list: the neighbors of position i are work[LEFT, i] and work[RIGHT, i]. The merges compete in a
    tree: that of position i is at tree[length + i], and tree[k] is the lesser of tree[2k] and tree[2k + 1], so tree[1]
    is the least of all.
    """
    for i in range(length):
        work[LEFT, i], work[RIGHT, i] = i - 1, i + 1
    for i in range(length):
        tree[length + i] = merge_at(i, length, pairs, work)
    for k in range(length - 1, 0, -1):
        tree[k] = min(tree[2 * k], tree[2 * k + 1])
    while tree[1] != NO_MERGE:
        position = tree[1] & 0xFFFFFFFF
        second = work[RIGHT, position]
        before, after = work[LEFT, position], work[RIGHT, second]
        work[ID, position] = find_merge(work[ID, position], work[ID, second], pairs) >> ID_SHIFT & EDGE
        work[ID, second] = EDGE  # no id starts here any more
        work[RIGHT, position] = after
        if after < length:
            work[LEFT, after] = position
        update_tree(second, NO_MERGE, length, tree)
        update_tree(position, merge_at(position, length, pairs, work), length, tree)
        if before >= 0:
            update_tree(before, merge_at(before, length, pairs, work), length, tree)
    count = 0
    for i in range(length):
        if work[ID, i] != EDGE:
            work[ID, count] = work[ID, i]
            count += 1
    return count


@kernel
def merge_at(position, length, pairs, work):
    """The merge of the ids at a position and after it, as rank << 32 | position; or `NO_MERGE`."""
    second = work[RIGHT, position]
    merge = find_merge(work[ID, position], work[ID, second], pairs) if second < length else NO_MERGE
    return merge >> RANK_SHIFT << 32 | position if merge != NO_MERGE else NO_MERGE


@kernel
def update_tree(position, merge, length, tree):
    """Put the merge of a position into the tree."""
    k = length + position
    tree[k] = merge
    while k > 1:
        k >>= 1
        tree[k] = min(tree[2 * k], tree[2 * k + 1])
