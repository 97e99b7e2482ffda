"""Finding where words start: GPT-2's pattern as rules about a byte and its two neighbors.

A regular expression goes from word to word. Here 64 bytes are compared at once. The result is a mask, an integer of 64
bits in which bit k is about byte k. One mask says which bytes are letters, others which are digits or white space. A
word starts, for example, at a letter without a letter before it: `letters & ~(letters << 1)`, three instructions for 64
bytes. Rare cases (apostrophes, special tokens, characters of several bytes) are handled one by one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minlm.fast.tokenization.kernels.bit_masks import ALL, clear_bits, get_bit, list_bits, next_bits, set_bits, shift_in
from minlm.fast.tokenization.kernels.characters import (
    DIGIT,
    INVALID,
    LETTER,
    NEWLINE,
    NUM_MASKS,
    OTHER,
    RARE,
    STARTS,
    WHITE,
    character_kinds,
    decode,
)
from minlm.fast.tokenization.kernels.compiler import kernel
from minlm.fast.tokenization.kernels.gpt4_rules import apply_gpt4_rules, group_digits, join_to_letters, mark_indentation
from minlm.fast.tokenization.kernels.instructions import bytes_between, lowest_bit

PADDING = 64  # bytes that may be read after the end of a text
LOOKAHEAD = 8  # bytes after a position that can decide whether a word starts there, such as white space and a letter
ALL_VALID = -1  # no position


class ScanTables(NamedTuple):
    """The tables of `find_words`."""

    kinds: np.ndarray  # see `character_kinds`
    specials: np.ndarray  # uint8: the special tokens, longest first, one after another
    special_bounds: np.ndarray  # int64 (n + 1,): where each starts, and the end
    gpt4: bool  # GPT-4's rules instead of GPT-2's


def scan_tables(special_tokens: Sequence[bytes], pattern: str = "gpt2") -> ScanTables:
    """The tables for a text with these special tokens and a pattern: one of `patterns.PATTERNS` by name."""
    longest_first = sorted(special_tokens, key=len, reverse=True)
    bounds = np.cumsum([0, *map(len, longest_first)], dtype=np.int64)
    specials = np.frombuffer(b"".join(longest_first), dtype=np.uint8)
    return ScanTables(character_kinds(pattern == "marks"), specials, bounds, pattern == "gpt4")


def scan_masks(size: int) -> np.ndarray:
    """Uninitialized masks for a text of up to `size` bytes: int64 (NUM_MASKS, size // 64 + 2)."""
    return np.empty((NUM_MASKS, size // 64 + 2), dtype=np.int64)


@kernel
def find_words(text, size, tables, masks, bounds):
    """Find the words of a whole text. A special token is one word.

    Args:
        text: uint8 (size + PADDING or more,): UTF-8. Any other byte counts as a character of the kind `OTHER`.
        tables: `ScanTables`.
        masks: `scan_masks` for `size` bytes or more.
        bounds: int64 (size + 9 or more,); receives the position where each word starts, and the end of the last.

    Returns:
        The number of words, and the first byte that is not UTF-8 or ALL_VALID.
    """
    kinds, specials, special_bounds, gpt4 = tables
    find_kinds(text, size, masks, gpt4)
    num_specials = find_specials(text, size, specials, special_bounds, masks, bounds)
    invalid = mark_multibyte(text, size, kinds, masks, gpt4)
    if gpt4:
        apply_gpt4_rules(text, size, masks)
    else:
        apply_rules(text, size, masks)
    for k in range(num_specials):
        first, end = bounds[2 * k], bounds[2 * k + 1]
        clear_bits(masks, STARTS, first, end - first)
        set_bits(masks, STARTS, first, 1)
        set_bits(masks, STARTS, end, 1)
    correct_rare(text, size, masks, gpt4)
    return list_bits(masks[STARTS], size, bounds), invalid


@kernel
def find_certain_words(text, size, whole, tables, masks, bounds):
    """`find_words` in the first bytes of a text, without the words that later bytes could change.

    Args:
        text: uint8 (size + PADDING or more,): UTF-8; if the text goes on, text[size] is its next byte.
        size: number of bytes to search.
        whole: size of the text; if it is `size`, all words are certain.
        tables, masks, bounds: see `find_words`.

    Returns:
        As `find_words`; the number is 0 if not even the first word is certain.
    """
    end = size if size == whole else character_end(text, size)
    found, invalid = find_words(text, end, tables, masks, bounds)
    specials = tables.special_bounds
    longest = specials[1] if specials.size > 1 else 0
    visible = end
    while tables.gpt4 and visible > 0 and get_bit(masks, WHITE, visible - 1):
        visible -= 1  # a later line end can change where the white space at the end is cut
    while size < whole and found > 0 and bounds[found] > min(end - longest - LOOKAHEAD, visible):
        found -= 1
    return found, invalid


@kernel
def character_end(text, position):
    """The last position, `position` at most, that is not inside a character."""
    for end in range(position, max(position - 4, -1), -1):
        if text[end] & 0xC0 != 0x80:
            return end
    return position  # not UTF-8: no character has so many bytes


@kernel
def find_kinds(text, size, masks, gpt4):
    """Mark the ASCII letters, digits and white space, and the rare bytes, in their masks; line ends if they matter."""
    num_blocks = size // 64 + 1
    for block in range(num_blocks):
        i = block * 64
        masks[LETTER, block] = bytes_between(text, i, 65, 90) | bytes_between(text, i, 97, 122)
        masks[DIGIT, block] = bytes_between(text, i, 48, 57)
        masks[WHITE, block] = bytes_between(text, i, 9, 13) | bytes_between(text, i, 32, 32)
        masks[RARE, block] = bytes_between(text, i, 128, 255) | bytes_between(text, i, 39, 39)
        if gpt4:
            masks[NEWLINE, block] = bytes_between(text, i, 10, 10) | bytes_between(text, i, 13, 13)
    after = ALL << (size & 63)  # the bits of the last block that are not text; the end counts as white space
    for row in (LETTER, DIGIT, RARE, NEWLINE):
        masks[row, num_blocks - 1] &= ~after
    masks[WHITE, num_blocks - 1] |= after
    masks[WHITE, num_blocks] = ALL


@kernel
def find_specials(text, size, specials, special_bounds, masks, found):
    """Mark special tokens as line ends, so that the word before them ends there and no word takes them in.

    Returns how many there are; `found` receives the start and the end of each.
    """
    num_found = 0
    seen = 0  # the end of the last one
    for block in range(size // 64 + 1):
        marks = 0
        for k in range(special_bounds.size - 1):
            byte = np.int64(specials[special_bounds[k]])
            marks |= bytes_between(text, block * 64, byte, byte)
        while marks != 0:
            position = block * 64 + lowest_bit(marks)
            marks &= marks - 1
            length = special_length(text, position, size, specials, special_bounds) if position >= seen else 0
            if length > 0:
                seen = position + length
                for row in (LETTER, DIGIT, RARE):
                    clear_bits(masks, row, position, length)
                set_bits(masks, WHITE, position, length)
                set_bits(masks, NEWLINE, position, length)
                found[2 * num_found] = position
                found[2 * num_found + 1] = seen
                num_found += 1
    return num_found


@kernel
def mark_multibyte(text, size, kinds, masks, gpt4):
    """Mark the characters of several bytes in the masks of their kinds.

    Only apostrophes and the first bytes of white space (and of punctuation, with GPT-4's rules) stay rare. Returns the
    first byte that is not UTF-8, or ALL_VALID.
    """
    seen = 0
    invalid = ALL_VALID
    for block in range(size // 64 + 1):
        marks = masks[RARE, block]
        while marks != 0:
            position = block * 64 + lowest_bit(marks)
            marks &= marks - 1
            if position >= seen and text[position] >= 128:
                code_point, length = decode(text, position, size)
                seen = position + length
                clear_bits(masks, RARE, position, length)
                if code_point != INVALID:
                    kind = kinds[code_point]
                    if kind != OTHER:
                        set_bits(masks, np.int64(kind), position, length)
                    if kind == WHITE or (gpt4 and kind == OTHER):
                        set_bits(masks, RARE, position, 1)
                elif invalid == ALL_VALID:
                    invalid = position
    return invalid


@kernel
def apply_rules(text, size, masks):
    """Mark the starts of words, as if all white space had one byte and there were no contractions.

    In white space that is followed by something else, the last character starts a new word; if it is a space, what
    follows belongs to that word.
    """
    last_letters, last_digits, last_others, last_white, last_spaces = 0, 0, 0, 0, 0
    for block in range(size // 64 + 1):
        letters, digits, white = masks[LETTER, block], masks[DIGIT, block], masks[WHITE, block]
        others = ~(letters | digits | white)
        spaces = bytes_between(text, block * 64, 32, 32)
        after_its_kind = (
            (letters & shift_in(letters, last_letters))
            | (digits & shift_in(digits, last_digits))
            | (others & shift_in(others, last_others))
        )
        before_white = next_bits(masks, WHITE, block)
        visible = ~white & ~after_its_kind & ~shift_in(spaces, last_spaces)
        masks[STARTS, block] = visible | (white & ~(shift_in(white, last_white) & before_white))
        last_letters, last_digits, last_others, last_white, last_spaces = letters, digits, others, white, spaces
    masks[STARTS, 0] |= 1


@kernel
def correct_rare(text, size, masks, gpt4):
    """Correct the starts of words where the byte before and the byte after do not decide."""
    for block in range(size // 64 + 1):
        marks = masks[RARE, block]
        while marks != 0:
            position = block * 64 + lowest_bit(marks)
            marks &= marks - 1
            length = decode(text, position, size)[1] if text[position] >= 128 else 1
            if get_bit(masks, DIGIT, position):
                group_digits(text, position, size, masks)
            elif get_bit(masks, WHITE, position):
                if gpt4 and position > 0 and get_bit(masks, NEWLINE, position - 1):
                    mark_indentation(position, size, masks)
                if length > 1:  # if a word starts here, the first or the last byte is marked
                    start = get_bit(masks, STARTS, position) | get_bit(masks, STARTS, position + length - 1)
                    clear_bits(masks, STARTS, position, length)
                    set_bits(masks, STARTS, position, start)
            elif get_bit(masks, STARTS, position):
                if length > 1:
                    join_to_letters(position, length, masks)
                    continue
                length = contraction_length(text, position, masks, gpt4)  # none starts inside a run of other characters
                if length > 0:
                    clear_bits(masks, STARTS, position + 1, length - 1)
                    set_bits(masks, STARTS, position + length, 1)


@kernel
def contraction_length(text, position, masks, any_case):
    """The length of the contraction ('s, 'd, 'm, 't, 'll, 've or 're) at this apostrophe, or 0."""
    if not get_bit(masks, LETTER, position + 1):  # may be the end of the text
        return 0
    to_lower = 32 if any_case else 0
    first, second = text[position + 1] | to_lower, text[position + 2]
    if first == 115 or first == 100 or first == 109 or first == 116:
        return 2
    if not get_bit(masks, LETTER, position + 2):
        return 0
    if any_case and text[position + 1] == 0xC5 and second == 0xBF:  # ſ is a lower-case s
        return 3
    second |= to_lower
    if (first == 108 and second == 108) or ((first == 118 or first == 114) and second == 101):
        return 3
    return 0


@kernel
def special_length(text, position, size, specials, special_bounds):
    """The length of the longest special token at this position, or 0."""
    for k in range(special_bounds.size - 1):
        first, end = special_bounds[k], special_bounds[k + 1]
        length = 0
        while first + length < end and position + length < size and text[position + length] == specials[first + length]:
            length += 1
        if first + length == end:
            return length
    return 0
