"""Characters: their kinds, and UTF-8."""

from functools import cache

import numpy as np
import regex

from minlm.fast.tokenization.kernels.compiler import kernel

LETTER, DIGIT, WHITE, OTHER = 0, 1, 2, 3  # kinds of characters; the first three also number rows of the masks in `scan`
RARE, STARTS, NEWLINE, NUM_MASKS = 3, 4, 5, 6  # more rows: bytes handled one by one, starts of words, line ends
INVALID = -1  # no code point


@cache
def character_kinds(marks: bool) -> np.ndarray:
    """The kind of each code point, uint8 (0x110000,); with `marks`, combining marks are letters. Takes 0.01 s."""
    kinds = np.full(0x110000, OTHER, dtype=np.uint8)
    # There are no letters, digits or white space from U+40000 on, and no marks from U+E0200 on.
    points = np.arange(0xE0200 if marks else 0x40000, dtype="<u4")
    characters = points.tobytes().decode("utf-32-le", "surrogatepass")
    letters = r"[\p{L}\p{M}]+" if marks else r"\p{L}+"
    for run in regex.finditer(rf"({letters})|(\p{{N}}+)|(\s+)", characters):
        kinds[run.start() : run.end()] = {1: LETTER, 2: DIGIT, 3: WHITE}[run.lastindex or 0]
    return kinds


@kernel
def decode(text, position, size):
    """The code point that starts at a byte of 128 or more, and its length; (INVALID, 1) if there is none (RFC 3629)."""
    lead = np.int64(text[position])
    if lead < 0xC2 or lead > 0xF4:
        return INVALID, 1
    length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if position + length > size:
        return INVALID, 1
    code_point = lead & (0x7F >> length)
    for i in range(position + 1, position + length):
        if text[i] & 0xC0 != 0x80:
            return INVALID, 1
        code_point = code_point << 6 | np.int64(text[i] & 0x3F)
    if length == 3 and (code_point < 0x800 or 0xD800 <= code_point < 0xE000):
        return INVALID, 1
    if length == 4 and not 0x10000 <= code_point <= 0x10FFFF:
        return INVALID, 1
    return code_point, length
