"""Where words begin: the compiled scanner against `regex` with GPT-2's published pattern."""

import random
import sys
import unicodedata
from itertools import pairwise
from unittest import mock

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st
from published import GPT2_PATTERN

from minlm.fast.tokenization import scanner

pattern_words = regex.compile(GPT2_PATTERN).findall
WHITE = "".join(c for c in map(chr, range(0x3001)) if regex.match(r"\s", c))
characters = st.one_of(
    st.sampled_from("'''sdmtlrveSx  \n\r09.,-é中²٣\u0301😀𝐀𝟎\x1c\x1f\x7f\x80\u180e\u200b\ufeff"),
    st.sampled_from(WHITE),
    st.characters(exclude_categories=["Cs"]),
)
finder = scanner.Scanner([])


def scanned_words(text: str, block_bytes: int = scanner.BLOCK_BYTES) -> list[str]:
    words = []
    with mock.patch.object(scanner, "BLOCK_BYTES", block_bytes):
        for block, count in finder.blocks(text.encode()):
            bounds = finder.bounds[: count + 1].tolist()
            words += [block[start:end].tobytes().decode() for start, end in pairwise(bounds)]
    return words


@given(st.text(characters, max_size=60), st.integers(1, 100))
@example("\x1f's", 1)
@example("a\u3000", 2)
@example("'", 3)
@example("don'll" * 9, 20)
def test_words_of_short_texts(text, block_bytes):
    assert scanned_words(text) == pattern_words(text)
    assert scanned_words(text, block_bytes) == pattern_words(text)


@given(
    st.integers(50, 70).flatmap(lambda size: st.sampled_from(["a", " ", "'", ".", "7", "\n"]).map(lambda c: c * size)),
    st.text(characters, max_size=12),
    st.sampled_from(["", "b", " ", "'ll", "é", "\u2003"]),
)
def test_words_at_the_edges_of_64_bytes(before, text, after):
    for shift in range(4):
        shifted = before[shift:] + text + after
        assert scanned_words(shifted) == pattern_words(shifted)
        assert scanned_words(shifted * 3) == pattern_words(shifted * 3)


def test_every_character_alone_and_between_others():
    """How each continues what comes before it, and what comes after it."""
    for first in range(0, 0x110000, 0x400):
        block = [chr(point) for point in range(first, first + 0x400) if not 0xD800 <= point < 0xE000]
        if any(unicodedata.category(c) not in ("Cn", "Co") for c in block) or first % 0x10000 == 0:
            text = "".join(f"a{c}1 {c}{c}.{c}  {c}'s{c}" for c in block)
            assert scanned_words(text) == pattern_words(text)


CONTRACTIONS = ["'s", "'ll", "'re", "'ve", "'d", "'m", "'t", "'", "''", "'l", "'S", "'r"]


def fuzzed(rng: random.Random, by_category: dict[str, list[str]]) -> str:
    """A text of up to 200 bytes or so: runs of one category, white space, contractions, anywhere in a block."""
    parts = [rng.choice("a '.7\n") * rng.choice([0, 0, 0, 1, 30, 61, 62, 63, 64, 65, 127, 128])]
    for _ in range(rng.randrange(1, 12)):
        match rng.randrange(6):
            case 0:
                parts.append(rng.choice(CONTRACTIONS))
            case 1:
                parts.append(rng.choice(WHITE) * rng.choice([1, 1, 2, 3]))
            case 2:
                parts.append(" " * rng.randrange(3) + rng.choice("abz09.,!_-<|>") * rng.randrange(1, 9))
            case 3:
                parts.append(chr(rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)])))
            case _:
                group = by_category[rng.choice(list(by_category))]
                parts += rng.choices(group, k=rng.randrange(1, 5))
    return "".join(parts)


def compare_many(count: int, seed: int) -> None:
    rng = random.Random(seed)
    by_category: dict[str, list[str]] = {}
    for c in map(chr, range(sys.maxunicode + 1)):
        if (category := unicodedata.category(c)) != "Cs":
            by_category.setdefault(category, []).append(c)
    for _ in range(count):
        text, block_bytes = fuzzed(rng, by_category), rng.choice([scanner.BLOCK_BYTES, rng.randrange(1, 200)])
        if scanned_words(text, block_bytes) != pattern_words(text):
            assert scanned_words(text, block_bytes) == pattern_words(text), repr((text, block_bytes))


def test_fuzzed_words():
    compare_many(10_000, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_half_a_million_fuzzed_words(seed):
    compare_many(500_000, seed)
