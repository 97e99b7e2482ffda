"""Where words begin: the compiled scanner against `regex` with the published patterns."""

import random
import sys
import unicodedata
from itertools import pairwise
from unittest import mock

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st
from published import PATTERNS

from minlm.fast.tokenization import scanner

pattern_words = {name: regex.compile(pattern).findall for name, pattern in PATTERNS.items()}
WHITE = "".join(c for c in map(chr, range(0x3001)) if regex.match(r"\s", c))
characters = st.one_of(
    st.sampled_from("'''sdmtlrveSx  \n\r09.,-é中²٣\u0301😀𝐀𝟎\x1c\x1f\x7f\x80\u180e\u200b\ufeff"),
    st.sampled_from(WHITE),
    st.sampled_from("\n\n\n\r \t.…'ſSLREVa1٣\u0903"),
    st.characters(exclude_categories=["Cs"]),
)
finders = {name: scanner.Scanner([], name) for name in PATTERNS}


def scanned_words(pattern: str, text: str, block_bytes: int = scanner.BLOCK_BYTES) -> list[str]:
    finder, words = finders[pattern], []
    with mock.patch.object(scanner, "BLOCK_BYTES", block_bytes):
        for block, count in finder.blocks(text.encode()):
            bounds = finder.bounds[: count + 1].tolist()
            words += [block[start:end].tobytes().decode() for start, end in pairwise(bounds)]
    return words


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=st.text(characters, max_size=60), block_bytes=st.integers(1, 100))
@example(text="\x1f's", block_bytes=1)
@example(text="a\u3000", block_bytes=2)
@example(text="'", block_bytes=3)
@example(text="don'll" * 9, block_bytes=20)
@example(text="'ſx", block_bytes=9)
@example(text=".\n  \n\t…a 12345", block_bytes=4)
@example(text="\n" + " " * 99 + "\n  \n   x", block_bytes=30)
def test_words_of_short_texts(pattern, text, block_bytes):
    assert scanned_words(pattern, text) == pattern_words[pattern](text)
    assert scanned_words(pattern, text, block_bytes) == pattern_words[pattern](text)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(
    before=st.integers(50, 70).flatmap(
        lambda size: st.sampled_from(["a", " ", "'", ".", "7", "\n"]).map(lambda c: c * size)
    ),
    text=st.text(characters, max_size=12),
    after=st.sampled_from(["", "b", " ", "'ll", "é", "\u2003", "\n"]),
)
def test_words_at_the_edges_of_64_bytes(pattern, before, text, after):
    for shift in range(4):
        shifted = before[shift:] + text + after
        assert scanned_words(pattern, shifted) == pattern_words[pattern](shifted)
        assert scanned_words(pattern, shifted * 3) == pattern_words[pattern](shifted * 3)


def test_every_character_alone_and_between_others():
    """How each continues what comes before it, and what comes after it."""
    for first in range(0, 0x110000, 0x400):
        block = [chr(point) for point in range(first, first + 0x400) if not 0xD800 <= point < 0xE000]
        if any(unicodedata.category(c) not in ("Cn", "Co") for c in block) or first % 0x10000 == 0:
            text = "".join(f"a{c}1 {c}{c}.{c}  {c}'s{c}" for c in block)
            for pattern, find_words in pattern_words.items():
                assert scanned_words(pattern, text) == find_words(text)


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
        for pattern, find_words in pattern_words.items():
            if (words := scanned_words(pattern, text, block_bytes)) != find_words(text):
                assert words == find_words(text), repr((pattern, text, block_bytes))


def test_fuzzed_words():
    compare_many(5_000, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_half_a_million_fuzzed_words(seed):
    compare_many(500_000, seed)
