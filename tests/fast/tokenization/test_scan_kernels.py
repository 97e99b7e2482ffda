"""What the scanner's kernels are made of, against a few lines of obvious Python."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from kernel_arrays import padded

from minlm.fast.tokenization.kernels import bit_masks, scan
from minlm.fast.tokenization.kernels.compiler import kernel
from minlm.fast.tokenization.kernels.instructions import (
    bytes_between,
    equal_among_4,
    highest_bit,
    least_of_8,
    load8,
    lowest_bit,
    num_bits,
    store8,
)

SPECIALS = [b"<a>", b"<a><b>", b"<b>", b"aa", b"\xc3\xa9x"]


def bits(row: np.ndarray, size: int) -> list[int]:
    """The numbers of the bits that are set."""
    return [i for i in range(size) if int(row[i >> 6]) >> (i & 63) & 1]


def empty_masks(size: int) -> np.ndarray:
    masks = scan.scan_masks(size)
    masks[:] = 0
    return masks


# What the processor does


@kernel
def call_load8(array, index):
    return load8(array, index)


@kernel
def call_store8(array, index, value):
    store8(array, index, value)


@kernel
def call_bytes_between(array, index, low, high):
    return bytes_between(array, index, low, high)


@kernel
def call_bits(mask):
    return lowest_bit(mask), highest_bit(mask), num_bits(mask)


@kernel
def call_numbers(array, index, value):
    return least_of_8(array, index), equal_among_4(array, index, value)


@given(st.binary(min_size=72, max_size=100), st.integers(0, 8), st.integers(0, 255), st.integers(0, 255))
def test_instructions(text, index, low, high):
    low, high = sorted((low, high))
    array = np.frombuffer(text, dtype=np.uint8).copy()
    assert call_load8(array, index) == int.from_bytes(text[index : index + 8], "little", signed=True)
    call_store8(array, index, -2)
    assert array.tobytes() == text[:index] + (-2).to_bytes(8, "little", signed=True) + text[index + 8 :]
    mask = call_bytes_between(padded(text), index, low, high)
    assert mask & (1 << 64) - 1 == sum(1 << k for k in range(64) if low <= text[index + k] <= high)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_bits_of_a_number(mask):
    binary = f"{mask % (1 << 64):064b}"[::-1]
    assert call_bits(mask) == (binary.find("1") if mask else 64, binary.rfind("1"), binary.count("1"))


@given(st.lists(st.integers(-3, 3) | st.integers(-(1 << 63), (1 << 63) - 1), min_size=9, max_size=9), st.integers(0, 1))
def test_several_numbers_at_once(numbers, index):
    eight, value = numbers[index:][:8], numbers[2]
    equal = sum(1 << k for k in range(4) if eight[k] == value)
    assert call_numbers(np.array(numbers, dtype=np.int64), index, value) == (min(eight), equal)


# Masks


@given(st.integers(0, 200), st.integers(0, 130), st.integers(0, 300))
def test_bits_of_masks(first, count, asked):
    masks = empty_masks(400)
    bit_masks.set_bits(masks, scan.DIGIT, first, count)
    assert bits(masks[scan.DIGIT], 400) == list(range(first, first + count))
    assert bit_masks.get_bit(masks, scan.DIGIT, asked) == (first <= asked < first + count)
    masks[:] = -1
    bit_masks.clear_bits(masks, scan.WHITE, first, count)
    assert bits(~masks[scan.WHITE], 400) == list(range(first, first + count))
    assert bits(masks[scan.LETTER], 400) == list(range(400))


@given(st.lists(st.booleans(), max_size=300))
def test_list_bits(is_set):
    masks = empty_masks(len(is_set))
    masks[0] = -1  # bits after the end are ignored
    for i, value in enumerate(is_set):
        if not value:
            bit_masks.clear_bits(masks, 0, i, 1)
    places = np.empty(len(is_set) + 9, dtype=np.int64)
    count = bit_masks.list_bits(masks[0], len(is_set), places)
    assert places[: count + 1].tolist() == [*(i for i, value in enumerate(is_set) if value), len(is_set)]


@given(st.binary(min_size=1, max_size=5).map(lambda text: bytes([text[0] | 0x80]) + text[1:]))
def test_decode_any_bytes(text):
    lengths = [n for n in range(2, 5) if _is_character(text[:n])]
    expected = (ord(text[: lengths[0]].decode()), lengths[0]) if lengths else (scan.INVALID, 1)
    assert scan.decode(padded(text), 0, len(text)) == expected


def _is_character(text: bytes) -> bool:
    try:
        return len(text.decode()) == 1
    except UnicodeDecodeError:
        return False


@given(st.characters(min_codepoint=128, exclude_categories=["Cs"]))
def test_decode_characters(character):
    text = character.encode()
    assert scan.decode(padded(text), 0, len(text)) == (ord(character), len(text))
    assert scan.decode(padded(text), 0, len(text) - 1) == (scan.INVALID, 1)  # cut short


broken = st.lists(st.text(max_size=5).map(str.encode) | st.binary(max_size=3) | st.just(b"a" * 60), max_size=8).map(
    b"".join
)


@given(
    st.sampled_from([[], [b"<a>"], [b"<|endoftext|>", b"<|end"], SPECIALS]),
    st.lists(
        st.sampled_from([b"'ll", b"l", b" ", b"\xe3\x80\x80", b"<a>", b"<|endoftext|>", b"<|end", b"<b>"]) | broken
    ),
    st.integers(0, 20),
)
@example([b"<a>"], ["\u3000\u3000<a>".encode()], 1)
@example([b"<|endoftext|>"], [b"x  <|endoftext|>"], 2)
def test_find_certain_words(specials, parts, left_out):
    text = b"".join(parts)
    size, array, tables, masks = (
        max(len(text) - left_out, 0),
        padded(text),
        scan.scan_tables(specials),
        empty_masks(9999),
    )
    bounds, certain_bounds = np.empty((2, len(text) + 9), dtype=np.int64)
    found, _ = scan.find_words(array, len(text), tables, masks, bounds)
    certain, _ = scan.find_certain_words(array, size, len(text), tables, masks, certain_bounds)
    assert certain_bounds[: certain + 1].tolist() == bounds[: certain + 1].tolist()
    lookahead = 3 + scan.LOOKAHEAD + max(map(len, specials), default=0) if left_out else 0
    assert certain >= np.sum(bounds[1 : found + 1] <= size - lookahead)
