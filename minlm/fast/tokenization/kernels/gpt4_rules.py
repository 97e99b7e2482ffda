"""The rules of GPT-4's pattern; those of GPT-2's are in `scan`, which explains the masks.

A character that is no letter, digit or line end leads the letters after it, if nothing else has taken it. In numbers,
each third digit starts a word. Line ends after punctuation belong to it. Other white space up to its last line end is
one word; what follows that line end is cut as in GPT-2's pattern. Special tokens are marked as line ends, which lead
nothing.
"""

from minlm.fast.tokenization.kernels.bit_masks import clear_bits, get_bit, next_bits, set_bits, shift_in
from minlm.fast.tokenization.kernels.characters import DIGIT, LETTER, NEWLINE, RARE, STARTS, WHITE, decode
from minlm.fast.tokenization.kernels.compiler import kernel
from minlm.fast.tokenization.kernels.instructions import bytes_between


@kernel
def apply_gpt4_rules(text, size, masks):
    """Mark the starts of words, and as rare where more than the neighbors decides: long numbers, and indentations."""
    last_digits, last_pairs, last_fours, last_others, last_white, last_newlines = 0, 0, 0, 0, 0, 0
    last_spaces, last_leading = 0, 0
    for block in range(size // 64 + 1):
        letters, digits, white = masks[LETTER, block], masks[DIGIT, block], masks[WHITE, block]
        newlines = masks[NEWLINE, block]
        others, blanks = ~(letters | digits | white), white & ~newlines
        spaces = bytes_between(text, block * 64, 32, 32) & blanks
        before_white = next_bits(masks, WHITE, block)
        after_others, after_digits = shift_in(others, last_others), shift_in(digits, last_digits)
        other_starts = others & ~after_others & ~shift_in(spaces, last_spaces)
        leading = letters | blanks | other_starts
        masks[STARTS, block] = (
            other_starts
            | (letters & ~shift_in(leading, last_leading))
            | (digits & ~after_digits)
            | (white & ~shift_in(white, last_white) & ~(newlines & after_others))
            | (blanks & ~before_white)
        )
        pairs = digits & after_digits
        fours = pairs & (pairs << 2 | (last_pairs >> 62 & 3))
        masks[RARE, block] |= fours & ~shift_in(fours, last_fours)
        masks[RARE, block] |= blanks & shift_in(newlines, last_newlines) & before_white
        last_digits, last_pairs, last_fours, last_others, last_white = digits, pairs, fours, others, white
        last_newlines, last_spaces, last_leading = newlines, spaces, leading
    masks[STARTS, 0] |= 1


@kernel
def group_digits(text, fourth, size, masks):
    """Start a word at every third digit of a number, given the place of its fourth byte."""
    i, count = fourth - 3, 0
    while i < size and get_bit(masks, DIGIT, i):
        if count > 0 and count % 3 == 0:
            set_bits(masks, STARTS, i, 1)
        i += decode(text, i, size)[1] if text[i] >= 128 else 1
        count += 1


@kernel
def mark_indentation(position, size, masks):
    """Mark white space after a line end, if it starts a word.

    It does unless another line end follows, because then all of it is one word, which began earlier; only punctuation
    takes the line ends right after it away from that word.
    """
    i = position + 1
    while i < size and get_bit(masks, WHITE, i) and not get_bit(masks, STARTS, i):
        if get_bit(masks, NEWLINE, i):
            before = position - 1
            while get_bit(masks, NEWLINE, before) and not get_bit(masks, STARTS, before):
                before -= 1
            if get_bit(masks, LETTER, before) or get_bit(masks, DIGIT, before) or get_bit(masks, WHITE, before):
                return
            break
        i += 1
    set_bits(masks, STARTS, position, 1)


@kernel
def join_to_letters(position, length, masks):
    """A character of several bytes leads the letters after it."""
    if get_bit(masks, LETTER, position + length):
        clear_bits(masks, STARTS, position + length, 1)
