import itertools
import logging
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minlm.bulk.count_words import count_words_to_file
from minlm.bulk.train_tokenizer import train_tokenizer
from minlm.errors import MinlmError
from minlm.tokenization import BPETokenizer
from minlm.tokenization.backend import load_backend
from minlm.tokenization.pretokenize import find_words
from minlm.tokenization.vocabulary import train_bpe


def brute_force(counts: dict[bytes, int], num_merges: int) -> list[tuple[bytes, bytes]]:
    """Counts all pairs again for each merge."""
    words = {tuple(word[i : i + 1] for i in range(len(word))): count for word, count in counts.items()}
    merges = []
    for _ in range(num_merges):
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        words = {merge_once(word, best): count for word, count in words.items()}
    return merges


def merge_once(word: tuple[bytes, ...], pair: tuple[bytes, bytes]) -> tuple[bytes, ...]:
    merged, position = [], 0
    while position < len(word):
        if word[position : position + 2] == pair:
            merged.append(pair[0] + pair[1])
            position += 2
        else:
            merged.append(word[position])
            position += 1
    return tuple(merged)


words = st.text("ab", min_size=1, max_size=12) | st.text("abcé中", min_size=1, max_size=8)
word_counts = st.dictionaries(words.map(str.encode), st.integers(1, 5), max_size=12)


@given(word_counts, st.integers(0, 30), st.sampled_from(["numba", "python"]))
def test_merges_are_those_of_brute_force(counts, num_merges, backend):
    vocab, merges = train_bpe(counts, 257 + num_merges, ["<|endoftext|>"], load_backend(backend).learn_merges)
    assert merges == brute_force(counts, num_merges)
    assert [vocab[i] for i in range(256)] == [bytes([i]) for i in range(256)]
    assert vocab[256] == b"<|endoftext|>"
    assert [vocab[257 + i] for i in range(len(merges))] == [a + b for a, b in merges]
    assert len(set(vocab.values())) == len(vocab)


def test_merges_of_real_text_are_those_of_brute_force(bible):
    counts = Counter(word.encode() for word in find_words(bible[:60_000].replace("<|endoftext|>", "")))
    assert train_bpe(counts, 256 + 150)[1] == brute_force(counts, 150)


def test_the_example_of_the_documentation():
    counts = Counter(word.encode() for word in find_words("low low low low low lower lower newest newest newest"))
    _, merges = train_bpe(counts, 256 + 6)
    assert [first + second for first, second in merges] == [b"ow", b"low", b" low", b"we", b"wes", b"west"]


def test_ties_go_to_the_greater_pair():
    _, merges = train_bpe({b"ab": 2, b"ba": 2, b"zz": 1, b"a\xff": 2}, 260)
    assert merges == [(b"b", b"a"), (b"a", b"\xff"), (b"a", b"b"), (b"z", b"z")]


def test_one_repeated_byte():
    assert train_bpe({b"a" * 9: 1}, 260)[1] == [(b"a", b"a"), (b"aa", b"aa"), (b"aaaa", b"aaaa"), (b"a" * 8, b"a")]


def test_a_very_long_word():
    word = b"abc" * 100_000
    assert train_bpe({word: 1}, 259)[1] == [(b"b", b"c"), (b"a", b"bc"), (b"abc", b"abc")]


def test_fewer_pairs_than_asked_for(caplog):
    with caplog.at_level(logging.WARNING, "minlm"):
        vocab, _ = train_bpe({b"abc": 1}, 1000, ["<|endoftext|>"])
    assert len(vocab) == 256 + 1 + 2
    assert "only 2 pairs to merge, so the vocabulary has 259 tokens instead of 1,000" in caplog.text


def test_special_tokens_are_not_learned_from(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("ab<x><x><x>ab", encoding="utf-8")
    tokenizer = BPETokenizer.train(path, 259, ["<x>", "<y>"])
    assert tokenizer.merges == [(b"a", b"b")]
    assert tokenizer.vocab[256] == b"<x>"
    assert tokenizer.vocab[257] == b"<y>"
    assert tokenizer.vocab[258] == b"ab"


@pytest.mark.parametrize(("vocab_size", "special_tokens"), [(256, []), (256, ["<x>"]), (258, ["<x>", "<y>", "<z>"])])
def test_vocabulary_too_small(vocab_size, special_tokens, tmp_path):
    with pytest.raises(MinlmError, match=f"vocab_size must be at least 25[79] .*not {vocab_size}"):
        BPETokenizer.train(tmp_path / "missing.txt", vocab_size, special_tokens)  # before the text is looked at


def test_a_special_token_that_is_a_byte():
    with pytest.raises(MinlmError, match="'a' is a single byte"):
        train_bpe({b"ab": 1}, 300, ["a"])


def test_files_from_text_and_from_counts_are_the_same(bible_file, tmp_path):
    count_words_to_file([bible_file], ["<|endoftext|>"], tmp_path / "counts.npz")
    from_text = train_tokenizer(bible_file, tmp_path, vocab_size=500)
    from_counts = train_tokenizer(tmp_path / "counts.npz", tmp_path, prefix="", vocab_size=500)
    assert from_text.vocab_path == tmp_path / "train_vocab.json"
    assert from_text.merges_path == tmp_path / "train_merges.txt"
    assert (from_counts.num_tokens, from_counts.num_merges) == (500, 243)
    assert list(from_text.seconds) == ["reading", "counting", "merging", "writing"]
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / f"train_{name}").read_bytes() == (tmp_path / name).read_bytes()


def test_a_failed_run_leaves_no_files(tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"good \xff")
    with pytest.raises(MinlmError, match="offset 5"):
        train_tokenizer(tmp_path / "bad.txt", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_missing_text_is_found_before_any_work(tmp_path):
    with pytest.raises(MinlmError, match="there is no file"):
        train_tokenizer(tmp_path / "missing.txt", tmp_path / "out")
    assert not (tmp_path / "out").exists()
