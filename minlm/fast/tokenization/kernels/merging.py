"""Learning the merges: the most frequent pair of neighbors becomes a token, again and again.

All words are laid out in `positions`, with one row for each byte and a gap before and after each word. A merge visits
only the positions where its pair occurs. No hash table of pairs is needed: all occurrences of a pair come from one
merge, that of its younger token, so they are found together and listed one after another.
"""

from typing import NamedTuple

import numpy as np

from minlm.fast.tokenization.kernels.compiler import kernel
from minlm.fast.tokenization.kernels.instructions import natural, never_inline, prefetch

GAP = -1  # the token between words
NO_PAIR = -1
DONE, NO_PAIR_LEFT, NO_ROOM = 0, 1, 2  # how `learn_merges` ended
TOKEN, LEFT, PAIR, WORD = 0, 1, 2, 3  # a row of `positions`; LEFT is the position of the token before, PAIR starts here
ROW_BYTES = 16
FIRST, SECOND, COUNT, BEGIN, NUMBER = 0, 1, 2, 3, 4  # the rows of `pairs`
NUM_TOKENS, NUM_PAIRS, NUM_OCCURRENCES, HEAP_SIZE, THRESHOLD = 0, 1, 2, 3, 4  # of `state`
START, LENGTH, SPLIT, AS_FIRST, AS_SECOND = 0, 1, 2, 3, 4  # the rows of `tokens`
PREFETCH_DISTANCE = 16  # occurrences
THRESHOLD_DIVISOR = 4  # applied when the heap is empty


class Merging(NamedTuple):
    """The state of training, all of it in arrays."""

    text: np.ndarray  # uint8 (n,): the words, with a byte 0 as a gap before, between and after them
    counts: np.ndarray  # int64: how often each word occurs
    positions: np.ndarray  # int32 (n, 4)
    tokens: np.ndarray  # int64 (5, vocabulary): where `text` spells a token, its length and that of its first half;
    # the pairs in which it precedes and follows the newest token, or NO_PAIR
    pairs: np.ndarray  # int64 (5, capacity): two tokens, how often they occur, and their part of `occurrences`
    occurrences: np.ndarray  # int32 (3 n,): the positions of each pair, ascending; some are out of date
    heap: np.ndarray  # int64 (2, capacity): the counts and the pairs of the candidates
    merged: np.ndarray  # int32 (n,): the positions of one merge
    state: np.ndarray  # int64 (5,)


@kernel
def lay_out_words(words, offsets, text, positions):
    """Lay out words (uint8, one after another) in `text` and `positions`."""
    positions[0, TOKEN], positions[0, PAIR] = GAP, NO_PAIR
    text[0] = 0
    for word in range(offsets.size - 1):
        for i in range(offsets[word], offsets[word + 1]):
            position = i + word + 1
            text[position] = words[i]
            positions[position, TOKEN] = words[i]
            positions[position, LEFT] = position - 1
            positions[position, PAIR] = NO_PAIR
            positions[position, WORD] = word
        gap = offsets[word + 1] + word + 1
        text[gap] = 0
        positions[gap, TOKEN], positions[gap, LEFT], positions[gap, PAIR] = GAP, gap - 1, NO_PAIR


@kernel
def find_first_pairs(all_arrays, number_of):
    """Find the pairs of bytes. `number_of` is int32 (65536,), filled with NO_PAIR."""
    _, counts, positions, tokens, pairs, occurrences, _, _, state = all_arrays
    for position in range(positions.shape[0] - 1):
        first, second = positions[position, TOKEN], positions[position + 1, TOKEN]
        if first != GAP:
            tokens[START, first], tokens[LENGTH, first] = position, 1
        if first != GAP and second != GAP:
            pair = number_of[first << 8 | second]
            if pair == NO_PAIR:
                pair = add_pair(first, second, pairs, state)
                number_of[first << 8 | second] = pair
            positions[position, PAIR] = pair
            pairs[COUNT, pair] += counts[positions[position, WORD]]
            pairs[NUMBER, pair] += 1
    allocate_occurrences(0, pairs, state)
    for position in range(positions.shape[0]):
        list_occurrence(position, positions, pairs, occurrences)
    state[NUM_TOKENS] = 256
    state[THRESHOLD] = 1
    for pair in range(state[NUM_PAIRS]):
        state[THRESHOLD] = max(state[THRESHOLD], pairs[COUNT, pair] + 1)


@kernel
def learn_merges(all_arrays, end):
    """Merge until there are `end` tokens (DONE), no pair is left (NO_PAIR_LEFT) or `pairs` is full (NO_ROOM)."""
    text, counts, positions, tokens, pairs, occurrences, heap, merged, state = all_arrays
    while state[NUM_TOKENS] < end:
        pair = find_best(text, tokens, pairs, heap, state)
        if pair == NO_PAIR:
            return NO_PAIR_LEFT
        if state[NUM_PAIRS] + 2 * min(pairs[NUMBER, pair], state[NUM_TOKENS] + 1) > pairs.shape[1]:
            push_pair(pair, text, tokens, pairs, heap, state)  # the next call will merge it
            return NO_ROOM
        new = state[NUM_TOKENS]
        state[NUM_TOKENS] += 1
        num_merged = replace_pair(pair, new, counts, positions, tokens, pairs, occurrences, merged)
        first_new = state[NUM_PAIRS]
        for k in range(num_merged):
            count_new_pairs(natural(merged[natural(k)]), new, counts, positions, tokens, pairs, state)
        allocate_occurrences(first_new, pairs, state)
        for k in range(num_merged):
            position = natural(merged[natural(k)])
            left = natural(positions[position, LEFT])
            if positions[left, TOKEN] != new:  # otherwise it is listed with that position
                list_occurrence(left, positions, pairs, occurrences)
            list_occurrence(position, positions, pairs, occurrences)
        for k in range(first_new, state[NUM_PAIRS]):
            tokens[AS_FIRST, pairs[FIRST, k]] = tokens[AS_SECOND, pairs[SECOND, k]] = NO_PAIR
            if pairs[COUNT, k] >= state[THRESHOLD]:
                push_pair(k, text, tokens, pairs, heap, state)
    return DONE


@kernel
def replace_pair(pair, new, counts, positions, tokens, pairs, occurrences, merged):
    """Put the token `new` wherever the pair occurs, from left to right; list them in `merged`; return their number."""
    first_length = tokens[LENGTH, pairs[FIRST, pair]]
    length = first_length + tokens[LENGTH, pairs[SECOND, pair]]
    begin, end = pairs[BEGIN, pair], pairs[BEGIN, pair] + pairs[NUMBER, pair]
    num_merged = 0
    for k in range(begin, end):
        prefetch(positions, natural(occurrences[natural(min(k + PREFETCH_DISTANCE, end - 1))]) * ROW_BYTES)
        position = natural(occurrences[natural(k)])
        if positions[position, PAIR] != pair:  # a neighbor has taken one of the two, as in the middle of "aaa"
            continue
        count = counts[natural(positions[position, WORD])]
        for other in (natural(positions[position, LEFT]), natural(position + first_length)):
            if positions[other, PAIR] != NO_PAIR:
                pairs[COUNT, natural(positions[other, PAIR])] -= count
                positions[other, PAIR] = NO_PAIR
        positions[position, TOKEN], positions[position, PAIR] = new, NO_PAIR
        positions[natural(position + length), LEFT] = position
        merged[natural(num_merged)] = position
        num_merged += 1
    pairs[COUNT, pair] = 0
    tokens[START, new], tokens[LENGTH, new], tokens[SPLIT, new] = merged[0], length, first_length
    return num_merged


@kernel
def count_new_pairs(position, new, counts, positions, tokens, pairs, state):
    """Count the pairs of the new token at a position and its neighbors."""
    count = counts[natural(positions[position, WORD])]
    left, after = natural(positions[position, LEFT]), natural(position + tokens[LENGTH, natural(new)])
    # Two new tokens next to each other are one pair, which is counted at the left one.
    if positions[left, TOKEN] != GAP and positions[left, TOKEN] != new:
        token = natural(positions[left, TOKEN])
        if tokens[AS_FIRST, token] == NO_PAIR:
            tokens[AS_FIRST, token] = add_pair(token, new, pairs, state)
        add_occurrence(left, natural(tokens[AS_FIRST, token]), count, positions, pairs)
    if positions[after, TOKEN] != GAP:
        token = natural(positions[after, TOKEN])
        if tokens[AS_SECOND, token] == NO_PAIR:
            tokens[AS_SECOND, token] = add_pair(new, token, pairs, state)
        add_occurrence(position, natural(tokens[AS_SECOND, token]), count, positions, pairs)


@kernel
def add_pair(first, second, pairs, state):
    """Add a new pair; return its number."""
    pair = state[NUM_PAIRS]
    state[NUM_PAIRS] += 1
    pairs[FIRST, pair], pairs[SECOND, pair] = first, second
    pairs[COUNT, pair], pairs[NUMBER, pair] = 0, 0
    return pair


@kernel
def add_occurrence(position, pair, count, positions, pairs):
    """Record that a pair starts at a position."""
    positions[position, PAIR] = pair
    pairs[COUNT, pair] += count
    pairs[NUMBER, pair] += 1


@kernel
def allocate_occurrences(first, pairs, state):
    """Allocate a part of `occurrences` to each pair from number `first` on."""
    for pair in range(first, state[NUM_PAIRS]):
        pairs[BEGIN, pair] = state[NUM_OCCURRENCES]
        state[NUM_OCCURRENCES] += pairs[NUMBER, pair]
        pairs[NUMBER, pair] = 0  # from now on, how many `list_occurrence` has listed


@kernel
def list_occurrence(position, positions, pairs, occurrences):
    """Add a position to the list of the pair that starts there, if one does."""
    pair = positions[position, PAIR]
    if pair != NO_PAIR:
        number = natural(pair)
        occurrences[natural(pairs[BEGIN, number] + pairs[NUMBER, number])] = position
        pairs[NUMBER, number] += 1


@kernel
def find_best(text, tokens, pairs, heap, state):
    """Take the most frequent pair out of the heap; NO_PAIR if none is left.

    Merges make existing pairs rarer, so a count in the heap is right or too high. Most pairs are rare and are never
    merged, so only those above a threshold are in the heap. When it is empty, the threshold is lowered.
    """
    while True:
        while state[HEAP_SIZE] > 0:
            count, pair = heap[0, 0], heap[1, 0]
            state[HEAP_SIZE] -= 1
            last = state[HEAP_SIZE]
            if count != pairs[COUNT, pair] and pairs[COUNT, pair] >= state[THRESHOLD]:  # goes back with the right count
                sift_down(pairs[COUNT, pair], pair, last + 1, text, tokens, pairs, heap)
                state[HEAP_SIZE] += 1
                continue
            if last > 0:
                sift_down(heap[0, last], heap[1, last], last, text, tokens, pairs, heap)
            if count == pairs[COUNT, pair]:
                return pair
        old = state[THRESHOLD]
        if old <= 1:
            return NO_PAIR
        state[THRESHOLD] = max(old // THRESHOLD_DIVISOR, 1)
        for pair in range(state[NUM_PAIRS]):
            if state[THRESHOLD] <= pairs[COUNT, pair] < old:
                push_pair(pair, text, tokens, pairs, heap, state)


@kernel
def push_pair(pair, text, tokens, pairs, heap, state):
    """Put a pair into the heap."""
    count = pairs[COUNT, pair]
    i = state[HEAP_SIZE]
    state[HEAP_SIZE] += 1
    while i > 0:
        parent = (i - 1) >> 1
        if not comes_first(count, pair, heap[0, parent], heap[1, parent], text, tokens, pairs):
            break
        heap[0, i], heap[1, i] = heap[0, parent], heap[1, parent]
        i = parent
    heap[0, i], heap[1, i] = count, pair


@kernel
def sift_down(count, pair, size, text, tokens, pairs, heap):
    """Put a pair at the root of the heap and sift it down."""
    i = 0
    while 2 * i + 1 < size:
        child = natural(2 * i + 1)
        if child + 1 < size and comes_first(
            heap[0, child + 1], heap[1, child + 1], heap[0, child], heap[1, child], text, tokens, pairs
        ):
            child = natural(child + 1)
        if not comes_first(heap[0, child], heap[1, child], count, pair, text, tokens, pairs):
            break
        heap[0, i], heap[1, i] = heap[0, child], heap[1, child]
        i = child
    heap[0, i], heap[1, i] = count, pair


@kernel
def comes_first(count_1, pair_1, count_2, pair_2, text, tokens, pairs):
    """Whether pair 1 is more frequent than pair 2 or, if equally frequent, the greater pair of byte strings."""
    if count_1 != count_2:
        return count_1 > count_2
    return comes_first_of_equals(pair_1, pair_2, text, tokens, pairs)


@kernel
def comes_first_of_equals(pair_1, pair_2, text, tokens, pairs):
    """Whether pair 1 is the greater pair of byte strings."""
    never_inline()
    order = compare_tokens(pairs[FIRST, pair_1], pairs[FIRST, pair_2], text, tokens)
    if order == 0:
        order = compare_tokens(pairs[SECOND, pair_1], pairs[SECOND, pair_2], text, tokens)
    return order > 0


@kernel
def compare_tokens(token_1, token_2, text, tokens):
    """Positive if token 1 is the greater byte string, negative if token 2 is, 0 if they are equal."""
    start_1, start_2 = tokens[START, token_1], tokens[START, token_2]
    length_1, length_2 = tokens[LENGTH, token_1], tokens[LENGTH, token_2]
    for i in range(min(length_1, length_2)):
        difference = np.int64(text[start_1 + i]) - np.int64(text[start_2 + i])
        if difference != 0:
            return difference
    return length_1 - length_2
