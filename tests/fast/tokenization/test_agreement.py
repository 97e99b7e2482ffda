"""The compiled tokenizer agrees with the plain one: the same counts, merges and ids, or the same error."""

import heapq
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import END, PATTERNS

from minlm.bulk.count_words import count_words
from minlm.fast.tokenization.kernels import word_table
from minlm.tokenization.backend import load_backend

FAST, PLAIN = load_backend("numba"), load_backend("python")
SPECIALS = [END, "<|a|>", "<|a|><|b|>", "<|b|>", "é中", "  "]
pieces = st.one_of(
    st.sampled_from([*SPECIALS, "<|", "|>", "<|a", "<", "<|endoftext|", "é", "中"]),
    st.sampled_from(
        [
            "'s",
            "'ll",
            "'",
            "it's",
            " the",
            "The",
            "12",
            "345",
            "  \n",
            "\n",
            "\r\n  ",
            ".",
            "\u3000",
            "\x85",
            "\u2028",
            "\xa0 ",
            "\x1f",
        ]
    ),
    st.sampled_from(["中文字", "e\u0301\u0300", "😀", "a" * 15, "b" * 16, "c" * 63, " d" * 32, "." * 64, "é" * 32]),
    st.text(max_size=4),
).map(str.encode)
invalid = st.sampled_from(
    [b"\xff", b"\xc3", b"\xe4\xb8", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\x80\x80"]
)
texts = st.lists(pieces | invalid, max_size=12).map(b"".join)
special_tokens = st.sampled_from([SPECIALS, SPECIALS[:1], SPECIALS[:3], []])
errors = st.sampled_from(["strict", "surrogateescape"])
patterns = st.sampled_from(list(PATTERNS))


def outcome(work):
    """What is returned, or where the text was found not to be UTF-8."""
    try:
        return work()
    except UnicodeDecodeError as error:
        return f"invalid at {error.start}"


@given(st.lists(texts, max_size=3), special_tokens, errors, patterns)
def test_counts(parts, special_tokens, errors, pattern):
    def count(backend):
        counter = backend.WordCounter(special_tokens, pattern)
        for part in parts:
            counter.add_text(part, errors)
        once = dict(counter.counts())
        counter.add_counts(once)
        return once, dict(counter.counts())

    assert outcome(lambda: count(FAST)) == outcome(lambda: count(PLAIN))


MERGES = [
    (b"e", b"\xcc"), (b"a", b"a"), (b"aa", b"aa"), (b" ", b"t"), (b"h", b"e"), (b" t", b"he"), (b"b", b"b"),
    (b"\xe4", b"\xb8"), (b"c", b"c"), (b"cc", b"c"), (b"'", b"s"), (b"\xff", b"\xff"),
]  # fmt: skip
VOCAB = [*(bytes([byte]) for byte in range(256)), *(first + second for first, second in MERGES)]


def ids_of(encoder, part, errors):
    return encoder.encode(part, errors).tolist()


@given(st.lists(texts, max_size=3), special_tokens, errors, patterns)
def test_ids(parts, special_tokens, errors, pattern):
    vocab = [*VOCAB, *map(str.encode, special_tokens)]
    ids = {token: index for index, token in enumerate(vocab)}
    encoders = [backend.Encoder(ids, MERGES, special_tokens, pattern) for backend in (FAST, PLAIN)]
    for part in [*parts, *parts]:  # the second time from the cache
        fast, plain = (outcome(partial(ids_of, encoder, part, errors)) for encoder in encoders)
        assert fast == plain
        if errors == "surrogateescape":
            assert b"".join(vocab[index] for index in plain) == part


def learned(word_counts, num_merges):
    """The merges that both forms learn."""
    fast, plain = (backend.learn_merges(word_counts, num_merges, lambda new: None) for backend in (FAST, PLAIN))
    assert fast == plain
    return fast


@given(st.dictionaries(st.binary(min_size=1, max_size=40), st.integers(1, 9), max_size=30), st.integers(0, 60))
def test_merges(word_counts, num_merges):
    learned(word_counts, num_merges)


def test_merges_of_real_text(bible_file):
    word_counts, steps = count_words([bible_file], [END]), []
    assert len(learned(word_counts, 3000)) == 3000
    for backend in (FAST, PLAIN):
        backend.learn_merges(word_counts, 300, steps.append)
    assert sum(steps) == 600


def test_merges_of_source_code():
    learned(count_words(sorted(Path(heapq.__file__).parent.glob("*.py"))[:40], [END]), 1500)


@pytest.mark.parametrize(
    "word_counts",
    [
        {b"a" * size: 3 for size in (1, 2, 3, 7, 8, 9, 100)},
        {b"a" * 4096: 1},
        {bytes([i, j]): 1 for i in range(16) for j in range(16)},  # all pairs tied
        {bytes([i, i, i]): 2 for i in range(256)},
        {b"ab" * 50 + b"a": 1, b"ba" * 50: 1},
        {b"x": 5},
        {},
    ],
)
def test_merges_of_odd_words(word_counts):
    learned(word_counts, 2000)


def test_more_pairs_than_there_is_room_for_at_first():
    rng = np.random.default_rng(1)
    learned({rng.integers(0, 256, 12, dtype=np.uint8).tobytes(): 1 for _ in range(8_000)}, 200)


def test_more_words_than_there_is_room_for_at_first(monkeypatch):
    monkeypatch.setattr(word_table, "FIRST_CAPACITY", 1 << 9)
    counters = [backend.WordCounter([END]) for backend in (FAST, PLAIN)]
    for counter in counters:
        for start in range(0, 5000, 500):
            counter.add_text(b" ".join(b"%d %030d" % (i, i * i) for i in range(start, start + 800)))
    assert dict(counters[0].counts()) == dict(counters[1].counts())
