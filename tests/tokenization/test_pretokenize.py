import itertools

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from published import GPT2_PATTERN, PATTERNS

from minlm.errors import MinlmError
from minlm.tokenization.patterns import word_finder
from minlm.tokenization.pretokenize import PreTokenizer, find_words
from minlm.tokenization.segments import segments

# Characters at which words begin and end, so that short texts meet every rule, and one from everywhere else.
characters = st.sampled_from("''' \n\t\u00a0\u3000\x85abstdmlrve12²٣.,!-<|>éßж中\u0301😀") | st.characters(
    exclude_categories=["Cs"]
)
texts = st.text(characters, max_size=40)


@given(texts)
def test_words_are_those_of_the_published_pattern(text):
    assert find_words(text) == regex.findall(GPT2_PATTERN, text)
    assert "".join(find_words(text)) == text


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=texts)
def test_words_of_each_pattern(pattern, text):
    assert word_finder(pattern)(text) == regex.findall(PATTERNS[pattern], text)


@pytest.mark.parametrize(
    ("pattern", "text", "words"),
    [
        ("gpt4", "I'LL pay 12345\n\n  now", ["I", "'LL", " pay", " ", "123", "45", "\n\n", " ", " now"]),
        ("gpt4", "(a) end.\n\n\tNew", ["(a", ")", " end", ".\n\n", "\tNew"]),
        ("marks", "e\u0301te\u0301 हिन्दी", ["e\u0301te\u0301", " हिन्दी"]),
        ("gpt2", "हिन्दी", ["ह", "\u093f", "न", "\u094d", "द", "\u0940"]),
        (r"\w+", "a b, c", ["a", " ", "b", ", ", "c"]),
        (r"(?<=a)|b+", "aabb", ["a", "a", "bb"]),
    ],
)
def test_boundaries_of_other_patterns(pattern, text, words):
    assert word_finder(pattern)(text) == words


@given(texts)
def test_a_pattern_of_ones_own_loses_no_character(text):
    words = word_finder(r"\p{L}+|'(s)|\b")(text)
    assert "".join(words) == text
    assert "" not in words


def test_a_pattern_that_is_none():
    with pytest.raises(MinlmError, match=r"the pattern 'a\(' is none of gpt2, gpt4, marks, and no regex: missing \)"):
        word_finder("a(")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello world", ["Hello", " world"]),
        ("we'll, we've 'sabc ''s", ["we", "'ll", ",", " we", "'ve", " '", "sabc", " ''", "s"]),
        ("a  b \n c", ["a", " ", " b", " \n", " c"]),
        ("x²3 ٣", ["x", "²3", " ٣"]),
        ("\u00a0a", ["\u00a0", "a"]),
        ("ends  ", ["ends", "  "]),
    ],
)
def test_boundaries_of_words(text, words):
    assert find_words(text) == words


def test_overlapping_special_tokens_the_longest_wins():
    words = PreTokenizer(["<a>", "<a><a>", "<b>"])
    assert words.split("x<a><a><a>y<b>") == ["x", "<a><a>", "", "<a>", "y", "<b>", ""]


def test_without_special_tokens_all_text_is_ordinary():
    assert PreTokenizer().split("x<|endoftext|>") == ["x<|endoftext|>"]


def test_special_tokens_are_taken_literally():
    assert PreTokenizer([".*", "a|b"]).split("xa|b.*") == ["x", "a|b", "", ".*", ""]


@pytest.mark.parametrize("special_tokens", [[""], ["<a>", "<a>"]])
def test_bad_special_tokens(special_tokens):
    with pytest.raises(MinlmError, match="must be different and not empty"):
        PreTokenizer(special_tokens)


SPECIAL = ["<a>", "<a><a>", "'s", "a b", "ab"]
special_texts = st.lists(st.sampled_from([*SPECIAL, "<", "a", ">", "b", " ", "  ", "'", "'l", "r", "e"]) | texts).map(
    "".join
)


def cut(text: str, places: list[int]) -> list[str]:
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(bounds)]


def pieces(words: PreTokenizer, text: str, find_words=find_words) -> list[str]:
    """All words and special tokens of a text in order."""
    parts = words.split(text)
    return [piece for i, part in enumerate(parts) for piece in ([part] if i % 2 else find_words(part))]


@given(
    special_texts,
    st.lists(st.integers(min_value=0)),
    st.sampled_from([[], SPECIAL, SPECIAL[:1]]),
    st.sampled_from([*PATTERNS, r"b.*<|\s+"]),
)
def test_segments_have_the_words_of_the_whole_however_it_is_cut(text, places, special_tokens, pattern):
    words, find = PreTokenizer(special_tokens), word_finder(pattern)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minlm.tokenization.segments.SEGMENT_CHARS", 1)
        parts = list(segments(cut(text, places), special_tokens, pattern))
    assert "".join(parts) == text
    assert [piece for part in parts for piece in pieces(words, part, find)] == pieces(words, text, find)


def test_segments_stay_small_in_text_without_white_space():
    chunks = itertools.repeat("中文。" * 1000, 50)
    assert max(map(len, segments(chunks, ["<|endoftext|>"]))) < 20_000


def test_segments_of_one_endless_word_are_joined_in_linear_time():
    assert list(segments(itertools.repeat("a", 300_000))) == ["a" * 300_000]
