"""Finding the words of UTF-8 text (`\\b\\w+\\b`), in its bytes and with NumPy."""

import functools

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

_IS_ASCII_WORD = bytes(chr(byte).isalnum() or chr(byte) == "_" for byte in range(128)) + bytes(128)


def mark_words(block: bytes) -> npt.NDArray[np.bool_]:
    r"""Mark the bytes of UTF-8 text at which a word (`\b\w+\b`) begins. Returns an array of shape (bytes,).

    Each byte becomes 1 (part of a word) or 0; a word begins where 1 follows 0. This is ten times faster than a
    regular expression.
    """
    is_word = np.frombuffer(bytearray(block).translate(_IS_ASCII_WORD), np.uint8)  # a bytearray, to be writable
    if not block.isascii():
        data = np.frombuffer(block, np.uint8)
        first = np.flatnonzero(data >= 0xC0)  # first bytes of characters beyond ASCII
        more = 1 + (data[first] >= 0xE0).astype(np.int32) + (data[first] >= 0xF0)  # number of bytes after each
        code = data[first] & (0x3F >> more)  # int32: the code point, to which each following byte adds six bits
        parts = [(has := more >= k, first[has] + k) for k in (1, 2, 3)]
        for has, offset in parts:
            code[has] = code[has] << 6 | (data[offset] & 0x3F)
        is_word[first] = _is_word()[code]
        for has, offset in parts:
            is_word[offset] = is_word[first[has]]
    begins = is_word.astype(np.bool_)
    np.greater(is_word[1:], is_word[:-1], out=begins[1:])
    return begins


def count_before(marks: npt.NDArray[np.bool_], offsets: IntArray) -> IntArray:
    """Count the marks before each offset. 64 marks form one integer, whose bits are counted in one operation."""
    bits = np.zeros(len(marks) // 64 * 8 + 8, np.uint8)  # includes the integer of offset len(marks)
    packed = np.packbits(marks, bitorder="little")
    bits[: len(packed)] = packed
    integers = bits.view("<u8")
    whole = np.concatenate([[0], np.cumsum(np.bitwise_count(integers), dtype=np.int64)])
    below = (np.uint64(1) << (offsets % 64).astype(np.uint64)) - np.uint64(1)
    return whole[offsets // 64] + np.bitwise_count(integers[offsets // 64] & below)


@functools.cache
def _is_word() -> npt.NDArray[np.uint8]:
    r"""1 for each Unicode code point that `\w` matches, otherwise 0. Shape (0x110000,)."""
    return np.array([chr(code).isalnum() or chr(code) == "_" for code in range(0x110000)], np.uint8)
