"""What the kernels that count, merge and encode words are made of, against a few lines of obvious Python."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_arrays import padded

from minlm.errors import MinlmError
from minlm.fast.tokenization import compiled
from minlm.fast.tokenization.kernels import encoding, merging, word_merging, word_table

# The table of words


def arrays_of(words: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    return padded(b"".join(words)), np.cumsum([0, *map(len, words)], dtype=np.int64)


@given(st.binary(max_size=50), st.integers(0, 20))
def test_word_key(text, start):
    array = padded(b"." * start + text, b"\xee")
    low, high = word_table.word_key(array, start, len(text))
    if len(text) <= 15:
        assert low == int.from_bytes(text[:8].ljust(8, b"\0"), "little", signed=True)
        assert high == int.from_bytes(text[8:].ljust(7, b"\0") + bytes([len(text)]), "little")
    else:
        assert (low, high) == word_table.word_key(padded(text), 0, len(text))
        assert high == word_table.LONG | len(text)


def test_long_words_with_the_same_key_are_told_apart():
    words = [b"x" * 20, b"y" * 20]
    text, bounds = arrays_of(words)
    table, pool, used = np.zeros(4 * 8, dtype=np.int64), np.zeros(100, dtype=np.uint8), np.zeros(4, dtype=np.int64)
    high = word_table.LONG | 20
    slots = []
    for start in bounds[:2]:
        slots.append(word_table.find_slot(7, high, 28, text, start, table, pool))
        word_table.insert(7, high, slots[-1], text, start, table, pool, used)
    assert slots == [28, 0]
    assert [word_table.find_slot(7, high, 28, text, start, table, pool) for start in bounds[:2]] == slots


# Encoding

some_merges = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=25, unique=True)


def pairs_of(merges: list[tuple[int, int]]) -> np.ndarray:
    """Merge k of ids makes the id 10 + k."""
    lefts, rights = np.array(merges, dtype=np.int64).reshape(-1, 2).T.copy()
    pairs = np.empty(128, dtype=np.int64)
    word_merging.fill_pairs(lefts, rights, np.arange(10, 10 + len(merges)), pairs)
    return pairs


@given(some_merges)
def test_find_merge(merges):
    pairs = pairs_of(merges)
    for pair in [(i, j) for i in range(31) for j in range(31)]:
        rank = merges.index(pair) if pair in merges else None
        found = word_merging.find_merge(*pair, pairs)
        assert found == (word_merging.NO_MERGE if rank is None else rank << 38 | (10 + rank) << 6)


def merged_one_by_one(ids: list[int], merges: list[tuple[int, int]]) -> list[int]:
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    while found := [(ranks[pair], place) for place, pair in enumerate(pairwise(ids)) if pair in ranks]:
        rank, place = min(found)
        ids = [*ids[:place], 10 + rank, *ids[place + 2 :]]
    return ids


@pytest.mark.parametrize("merge", ["by_comparing", "in_tree"])
def test_merging_a_word(merge):
    @given(st.lists(st.integers(0, 3), min_size=1, max_size=word_merging.SHORT), some_merges)
    def check(ids, merges):
        merges = [(left, right) for left, right in merges if max(left, right) < 4 or max(left, right) >= 10]
        work, tree = np.empty((4, len(ids) + 8), dtype=np.int64), np.empty(2 * len(ids), dtype=np.int64)
        if merge == "by_comparing":
            work[word_merging.ID, 1 : len(ids) + 1] = ids
            count = word_merging.merge_by_comparing(len(ids), pairs_of(merges), work)
        else:
            work[word_merging.ID, : len(ids)] = ids
            count = word_merging.merge_in_tree(len(ids), pairs_of(merges), work, tree)
        assert work[word_merging.ID, :count].tolist() == merged_one_by_one(ids, merges)

    check()


@given(st.lists(st.integers(0, (1 << 16) - 1), max_size=12), st.sampled_from(["<u2", "<u4"]), st.integers(0, 9))
def test_write_ids(ids, dtype, place):
    work, out = np.array([ids], dtype=np.int64), padded(b"x" * place)
    end = encoding.write_ids(work, len(ids), np.dtype(dtype).itemsize, out, place)
    assert out[:end].tobytes() == b"x" * place + np.array(ids, dtype=dtype).tobytes()


@pytest.mark.parametrize("first_id", [256, 65_000, 70_000])
def test_words_of_any_number_of_ids(first_id):
    # around what fits into an entry, into the key and into the cache; known the second time
    words = [b"ab" * pairs + b"x" * others for pairs in (0, 1, 3) for others in (0, 1, 2, 3, 4, 5, 15, 16, 249, 300)]
    ids = {bytes([byte]): byte for byte in range(256)} | {b"ab": first_id, b"<|end|>": first_id + 1}
    encoder = compiled.Encoder(ids, [(b"a", b"b")], ["<|end|>"])
    for word in filter(None, words + words):
        assert encoder.encode(word).tolist() == [first_id] * word.count(b"ab") + list(b"x") * word.count(b"x")


def test_ids_that_are_too_large():
    ids = {bytes([byte]): byte for byte in range(256)} | {b"ab": 5_000_000_000}
    with pytest.raises(MinlmError, match="1 merges and ids up to 5,000,000,000 is too large"):
        compiled.Encoder(ids, [(b"a", b"b")], [])


# Learning


@given(st.binary(min_size=1, max_size=12), st.binary(min_size=1, max_size=12))
def test_compare_tokens(first, second):
    tokens = np.zeros((5, 2), dtype=np.int64)
    tokens[merging.START], tokens[merging.LENGTH] = [0, len(first)], [len(first), len(second)]
    order = merging.compare_tokens(0, 1, padded(first + second), tokens)
    assert (order > 0, order < 0) == (first > second, first < second)
