from collections import Counter

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from published import END, GPT2_PATTERN

from minlm.bulk.count_words import count_words, count_words_to_file
from minlm.bulk.options import Options
from minlm.errors import MinlmError
from minlm.fast.tokenization import scanner
from minlm.fast.tokenization.word_counts import WordCounts


@pytest.mark.parametrize("backend", ["numba", "python"])
def test_counts_are_those_of_the_pattern(bible, bible_file, backend):
    documents = bible.split(END)
    expected = Counter(word.encode() for document in documents for word in regex.findall(GPT2_PATTERN, document))
    assert count_words([bible_file], [END], Options(backend=backend)) == expected


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7, 1000])
def test_blocks_do_not_matter(tmp_path, monkeypatch, block_bytes):
    path = tmp_path / "a.txt"
    path.write_bytes("it's 中文。\r\n\u3000\u00a0x 😀<|endoftext|>\n\n  y é".encode())
    whole = count_words([path], [END])
    monkeypatch.setattr(scanner, "BLOCK_BYTES", block_bytes)
    assert count_words([path], [END]) == whole


def test_counts_of_several_files_add_up(tmp_path):
    for name, content in (("a.txt", "x y y"), ("b.txt", "y z"), ("both.txt", "x y y<|endoftext|>y z")):
        (tmp_path / name).write_text(content, "utf-8")
    count_words_to_file([tmp_path / "a.txt"], [END], tmp_path / "a.npz")
    together = count_words([tmp_path / "both.txt"], [END])
    assert together == {b"x": 1, b" y": 2, b"y": 1, b" z": 1}
    assert count_words([tmp_path / "a.txt", tmp_path / "b.txt"], [END]) == together
    assert count_words([tmp_path / "b.txt", tmp_path / "a.npz"], [END]) == together


def test_file_holds_sorted_words_and_is_always_the_same(bible_file, tmp_path):
    counts = count_words_to_file([bible_file], [END], tmp_path / "a.npz")
    in_order = sorted(counts, key=lambda word: (len(word) > 15, word))  # short words first
    assert WordCounts.load(tmp_path / "a.npz").words() == in_order
    count_words_to_file([tmp_path / "a.npz"], [END], tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert WordCounts.load(tmp_path / "a.npz") == counts
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["bytes"].tobytes() == b"".join(in_order)
        assert [arrays[name].dtype for name in ("bytes", "offsets", "counts")] == [np.uint8, np.int64, np.int64]
        assert arrays["counts"].sum() == sum(counts.values())


@given(st.dictionaries(st.binary(min_size=1, max_size=20) | st.sampled_from([b"a\0", b"a"]), st.integers(1, 1 << 40)))
def test_any_counts_survive_the_file(tmp_path_factory, counts):
    path = tmp_path_factory.getbasetemp() / "any.npz"
    with open(path, "wb") as file:
        WordCounts.of(counts, [END]).write(file)
    loaded = WordCounts.load(path)
    assert loaded.words() == sorted(counts, key=lambda word: (len(word) > 15, word))
    assert loaded == counts


def test_counts_without_words_and_special_tokens(tmp_path):
    with open(tmp_path / "a.npz", "wb") as file:
        WordCounts.of({}).write(file)
    loaded = WordCounts.load(tmp_path / "a.npz")
    assert (dict(loaded), loaded.special_tokens) == ({}, [])


def test_counts_of_other_special_tokens(tmp_path):
    (tmp_path / "a.txt").write_text("x", "utf-8")
    count_words_to_file([tmp_path / "a.txt"], ["<x>"], tmp_path / "a.npz")
    with pytest.raises(MinlmError, match=r"was counted with the special tokens <x>, not with <\|endoftext\|>"):
        count_words([tmp_path / "a.npz"], [END])


def damaged_archives():
    good = {
        "bytes": np.array([97, 98], np.uint8),
        "offsets": np.array([0, 1, 2]),
        "counts": np.array([1, 1]),
        "special_tokens": np.array([END]),
    }
    for name, array in (("offsets", [0, 2, 1]), ("offsets", [0, 1]), ("offsets", []), ("counts", [1, 0])):
        yield {**good, name: np.array(array, dtype=np.int64)}
    yield {name: array for name, array in good.items() if name != "counts"}


@pytest.mark.parametrize("arrays", list(damaged_archives()))
def test_damaged_counts(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(MinlmError, match="is not a file of word counts, or is damaged"):
        count_words([tmp_path / "a.npz"], [END])


@pytest.mark.parametrize("content", [b"x", b"PK\x03\x04 cut short", b"\x93NUMPY", b"\x80\x04N."])
def test_foreign_files(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(MinlmError, match=r"a.npz is not a file of word counts, or is damaged"):
        count_words([tmp_path / "a.npz"], [END])


def test_an_array_is_not_a_file_of_counts(tmp_path):
    with open(tmp_path / "a.npz", "wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(MinlmError, match=r"a.npz is not a file of word counts, or is damaged"):
        count_words([tmp_path / "a.npz"], [END])


def test_counts_cut_short(bible_file, tmp_path):
    count_words_to_file([bible_file], [END], tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 100):
        (tmp_path / "a.npz").write_bytes(whole[:size])
        with pytest.raises(MinlmError, match="is not a file of word counts, or is damaged"):
            count_words([tmp_path / "a.npz"], [END])


@pytest.mark.parametrize(
    ("content", "offset", "byte"),
    [(b"abc\xff", 3, "ff"), (b"\x80", 0, "80"), ("é".encode() * 9 + b"\xc3", 18, "c3"), (b"abcd\xe4\xb8ef", 4, "e4")],
)
@pytest.mark.parametrize("block_bytes", [1, 2, 5, 1 << 20])
def test_not_utf8(tmp_path, monkeypatch, content, offset, byte, block_bytes):
    monkeypatch.setattr(scanner, "BLOCK_BYTES", block_bytes)
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(MinlmError, match=rf"a.txt is not UTF-8: byte 0x{byte} at offset {offset}\."):
        count_words([tmp_path / "a.txt"], [END])


def test_bad_inputs_are_found_before_any_work(tmp_path):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    for name, message in (("missing.txt", "there is no file"), ("empty.txt", "is empty"), (".", "is a folder")):
        with pytest.raises(MinlmError, match=message):
            count_words_to_file([tmp_path / "bad.txt", tmp_path / name], [END], tmp_path / "out" / "a.npz")
    assert not (tmp_path / "out").exists()
