import inspect
import itertools
import pickle
import textwrap
import tracemalloc

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from published import END, GPT2_PATTERN

from minlm.errors import MinlmError
from minlm.fast.tokenization.kernels import word_table
from minlm.tokenization import BPETokenizer

# What the libraries compared with may class differently (newer and older Unicode versions) is left out.
assigned = st.characters(exclude_categories=["Cs", "Cn", "Co"])
texts = st.lists(
    st.sampled_from([END, "<|endoftext", "|>", " ", "\n", "  ", "'s", "'", "the", " the", "123", "中文", "é"])
    | st.text(assigned, max_size=8)
).map("".join)


def bytes_tokenizer(merges=(), special_tokens=None, backend="numba") -> BPETokenizer:
    """The 256 bytes and the given merges, such as ["a b", "ab c"]."""
    pairs = [tuple(part.encode() for part in merge.split(" ")) for merge in merges]
    vocab = {i: bytes([i]) for i in range(256)} | {256 + i: a + b for i, (a, b) in enumerate(pairs)}
    return BPETokenizer(vocab, pairs, special_tokens, backend)


def test_gpt2_ids_of_real_text_are_tiktokens(gpt2, tiktoken_gpt2, bible):
    assert gpt2.encode(bible) == tiktoken_gpt2.encode(bible, allowed_special="all")


def test_gpt2_ids_of_source_code_are_tiktokens(gpt2, tiktoken_gpt2):
    source = inspect.getsource(textwrap)
    assert gpt2.encode(source) == tiktoken_gpt2.encode(source, allowed_special="all")


@given(text=texts)
def test_gpt2_ids_are_tiktokens(gpt2, tiktoken_gpt2, text):
    assert gpt2.encode(text) == tiktoken_gpt2.encode(text, allowed_special="all")


@pytest.fixture(scope="session")
def tiktoken_trained(trained):
    ranks = {token: index for index, token in trained.vocab.items() if index != 256}
    return tiktoken.Encoding("trained", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={END: 256})


@given(text=texts)
def test_ids_of_a_trained_vocabulary_are_tiktokens(trained, tiktoken_trained, text):
    assert trained.encode(text) == tiktoken_trained.encode(text, allowed_special="all")


def test_ids_of_real_text_with_a_trained_vocabulary_are_tiktokens(trained, tiktoken_trained, bible):
    assert trained.encode(bible) == tiktoken_trained.encode(bible, allowed_special="all")


@given(text=st.text() | texts)
def test_decode_gives_the_text_back(trained, gpt2, text):
    for tokenizer in (trained, gpt2):
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.decode_bytes(tokenizer.encode(text)) == text.encode()


@given(text=texts, cuts=st.lists(st.integers(min_value=0)))
def test_encode_iterable_gives_the_ids_of_the_whole(trained, text, cuts):
    bounds = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minlm.tokenization.segments.SEGMENT_CHARS", 1)
        ids = list(trained.encode_iterable(text[start:end] for start, end in itertools.pairwise(bounds)))
    assert ids == trained.encode(text)


def test_encode_iterable_of_lines_and_of_characters(trained, bible):
    assert list(trained.encode_iterable(bible.splitlines(keepends=True))) == trained.encode(bible)
    assert list(trained.encode_iterable(bible[:30_000])) == trained.encode(bible[:30_000])


def test_encode_iterable_streams(trained, bible):
    """Memory stays far below the size of the stream, and ids come before the stream ends."""
    line = bible[:1000]
    next(trained.encode_iterable(itertools.repeat(line)))
    tracemalloc.start()
    count = sum(1 for _ in trained.encode_iterable(itertools.repeat(line, 2000)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count > 400_000
    assert peak < 1_000_000


def test_overlapping_special_tokens_the_longest_wins():
    tokenizer = bytes_tokenizer(special_tokens=["<a>", "<a><a>"])
    assert tokenizer.encode("<a><a><a>") == [257, 256]
    assert tokenizer.decode([257, 256]) == "<a><a><a>"


def test_special_tokens_without_an_id_get_new_ones():
    tokenizer = bytes_tokenizer(["a b"], special_tokens=["<x>", "ab", "<y>"])
    assert tokenizer.vocab[257] == b"<x>"
    assert tokenizer.vocab[258] == b"<y>"
    assert tokenizer.encode("<x>ab<y>") == [257, 256, 258]
    assert tokenizer.special_tokens == ["<x>", "ab", "<y>"]


def test_special_tokens_not_asked_for_are_ordinary_text(gpt2):
    tokenizer = BPETokenizer(gpt2.vocab, gpt2.merges)
    assert 50256 not in tokenizer.encode(END)
    assert tokenizer.decode(tokenizer.encode(END)) == END


def test_the_end_of_a_text_is_known_from_the_files(gpt2_files, trained_files):
    assert BPETokenizer.from_files(*gpt2_files).encode(END) == [50256]
    assert BPETokenizer.from_files(*trained_files).encode(END) == [256]


def test_merges_go_by_rank_then_from_left_to_right():
    tokenizer = bytes_tokenizer(["b c", "a b", "a a", "bc d"])
    assert tokenizer.encode("abcd") == [97, 259]
    assert tokenizer.encode("aaaaab") == [258, 258, 257]


def test_no_text():
    assert bytes_tokenizer().encode("") == []
    assert list(bytes_tokenizer().encode_iterable([])) == []
    assert bytes_tokenizer().decode([]) == ""


def test_a_very_long_word(trained):
    word = "abcdefgh" * 50_000
    assert trained.decode(trained.encode(word)) == word


def test_invalid_bytes_decode_to_the_replacement_character(trained):
    assert trained.decode([0x61, 0xFF, 0x62]) == "a\ufffdb"
    assert trained.decode_bytes([0x61, 0xFF, 0x62]) == b"a\xffb"


@pytest.mark.parametrize("backend", ["numba", "python"])
def test_memory_for_cached_words_is_bounded(backend, monkeypatch):
    monkeypatch.setattr(word_table, "FIRST_CAPACITY", 1 << 9)
    monkeypatch.setattr("minlm.fast.tokenization.encode.MAX_CAPACITY", 1 << 10)  # so that it grows and is emptied
    monkeypatch.setattr("minlm.tokenization.encode.CACHED_WORDS", 500)
    tokenizer = bytes_tokenizer(["a b"], ["<s>", "<a longer special token>"], backend)

    def encode_new_words(start: int) -> int:
        """Encode many words that were not there before; return the memory in use."""
        words = " ".join(f"w{i}ab<s>" for i in range(start, start + 1500))
        text = words + "<a longer special token>" + "ab" * 500 + f"{start}" * 200
        for _ in range(2):
            ids = tokenizer.encode(text)
            assert tokenizer.decode(ids) == text
            assert ids.count(257) == 1500
            assert ids.count(258) == 1
            assert ids.count(256) == 2000
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    used = [encode_new_words(start) for start in range(10_000, 22_000, 1500)]
    tracemalloc.stop()
    assert max(used[4:]) < 1.05 * max(used[:4]) + 10_000


def test_unknown_ids(trained):
    with pytest.raises(MinlmError, match="no token with id 1000; the vocabulary ends at 999"):
        trained.decode([1, 1000])


def test_half_a_surrogate_pair(trained):
    with pytest.raises(MinlmError, match="half of a surrogate pair"):
        trained.encode("a \ud83d")


def test_a_tokenizer_can_be_sent_to_another_process(trained, bible):
    assert pickle.loads(pickle.dumps(trained)).encode(bible) == trained.encode(bible)


def test_vocabulary_without_a_byte():
    with pytest.raises(MinlmError, match="lacks the byte 0xff"):
        BPETokenizer({i: bytes([i]) for i in range(255)}, [])


def test_vocabulary_with_a_token_twice():
    with pytest.raises(MinlmError, match=r"b'a' twice"):
        BPETokenizer({i: bytes([i]) for i in range(256)} | {256: b"a"}, [])


@pytest.mark.parametrize("merge", [(b"a", b"b"), (b"xy", b"z")])
def test_merges_that_do_not_fit_the_vocabulary(merge):
    with pytest.raises(MinlmError, match="do not fit each other: merge 1 needs"):
        BPETokenizer({i: bytes([i]) for i in range(256)}, [merge])


def test_a_merge_twice():
    vocab = {i: bytes([i]) for i in range(256)} | {256: b"ab"}
    with pytest.raises(MinlmError, match=r"merge 2 .* was there before"):
        BPETokenizer(vocab, [(b"a", b"b")] * 2)
