"""The compiled backend and the one in plain Python, threads, shards, blocks: always the same result."""

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import END

from minlm.bulk.count_words import count_words, count_words_to_file
from minlm.bulk.encode_files import encode_files
from minlm.errors import MinlmError
from minlm.fast.tokenization import backend as fast
from minlm.fast.tokenization import options as backends
from minlm.fast.tokenization import ranges as text
from minlm.fast.tokenization import scanner
from minlm.fast.tokenization.options import Options, choose_backend
from minlm.tokenization import BPETokenizer
from minlm.tokenization import learn_merges as plain
from minlm.tokenization.word_counts import WordCounts

SPECIALS = [END, "<|a|>", "<|a|><|b|>", "<|b|>", "é中", "  "]
pieces = st.one_of(
    st.sampled_from([*SPECIALS, "<|", "|>", "<|a", "<", "<|endoftext|", "é", "中"]),
    st.sampled_from(
        ["'s", "'ll", "'", "it's", " the", "The", "12", "  \n", "\u3000", "\x85", "\u2028", "\xa0 ", "\x1f"]
    ),
    st.sampled_from(["中文字", "e\u0301\u0300", "😀", "a" * 15, "b" * 16, "c" * 63, " d" * 32, "." * 64, "é" * 32]),
    st.text(max_size=4),
).map(str.encode)
invalid = st.sampled_from(
    [b"\xff", b"\xc3", b"\xe4\xb8", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\x80\x80"]
)
texts = st.lists(pieces, max_size=12).map(b"".join)
broken_texts = st.lists(pieces | invalid, max_size=12).map(b"".join)
special_tokens = st.sampled_from([SPECIALS, SPECIALS[:1], SPECIALS[:3], []])


def outcome(work):
    """What is returned, or where the text was found not to be UTF-8."""
    try:
        return work()
    except text.InvalidUtf8 as error:
        return f"invalid at {error.offset}"


def npz_bytes(counts: WordCounts) -> bytes:
    file = io.BytesIO()
    counts.write(file)
    return file.getvalue()


def both(maker):
    return [maker(backend) for backend in (fast, plain)]


@given(st.lists(broken_texts, max_size=3), special_tokens, st.booleans())
def test_both_count_the_same(parts, special_tokens, keep_invalid):
    def count(backend):
        counter = backend.WordCounter(special_tokens, keep_invalid)
        for part in parts:
            counter.add_text(part)
        counts = counter.counts()
        counter.add_counts(counts)
        return npz_bytes(counts), npz_bytes(counter.counts()), counter.counts(in_order=False).as_dict()

    assert outcome(lambda: count(fast)) == outcome(lambda: count(plain))


MERGES = [
    b"e \xcc",
    b"a a",
    b"aa aa",
    b"  t",
    b"h e",
    b" t he",
    b"b b",
    b"\xe4 \xb8",
    b"c c",
    b"cc c",
    b"' s",
    b"\xff \xff",
]


def merge_tokenizer(backend: str, special_tokens=(END,)) -> BPETokenizer:
    merges = [(b" ", b"t") if merge == b"  t" else (b" t", b"he") if merge == b" t he" else tuple(merge.split(b" "))
              for merge in MERGES]  # fmt: skip
    vocab = {index: bytes([index]) for index in range(256)}
    vocab |= {256 + index: first + second for index, (first, second) in enumerate(merges)}
    return BPETokenizer(vocab, merges, special_tokens, backend)


@given(st.lists(broken_texts, max_size=3), special_tokens, st.booleans())
def test_both_encode_the_same(parts, special_tokens, keep_invalid):
    encoders = [merge_tokenizer(name, special_tokens).make_encoder(keep_invalid) for name in ("numba", "python")]
    for part in [*parts, *parts]:  # the second time from the cache
        found = [outcome(lambda encode=encoder.encode, part=part: encode(part).tolist()) for encoder in encoders]
        assert found[0] == found[1]
        if keep_invalid:
            assert merge_tokenizer("python", special_tokens).decode_bytes(found[0]) == part


@given(st.dictionaries(st.binary(min_size=1, max_size=40), st.integers(1, 9), max_size=30), st.integers(0, 60))
def test_both_learn_the_same(counts, num_merges):
    learned = both(lambda backend: backend.learn_merges(WordCounts.from_dict(counts), num_merges, lambda done: None))
    assert learned[0] == learned[1]


def test_both_learn_the_same_of_real_text(bible_file):
    counts = count_words([bible_file], [END])
    steps = []
    learned = fast.learn_merges(counts, 3000, steps.append)
    assert learned == plain.learn_merges(counts, 3000, lambda done: None)
    assert sum(steps) == len(learned) == 3000


def test_both_learn_the_same_of_source_code():
    sources = sorted(Path(text.__file__).parents[1].rglob("*.py"))
    counts = count_words(sources, [END])
    learned = both(lambda backend: backend.learn_merges(counts, 1500, lambda done: None))
    assert learned[0] == learned[1]


@pytest.mark.parametrize(
    "counts",
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
def test_both_learn_the_same_of_odd_words(counts):
    learned = both(lambda backend: backend.learn_merges(WordCounts.from_dict(counts), 2000, lambda done: None))
    assert learned[0] == learned[1]


def test_more_pairs_than_there_is_room_for_at_first():
    rng = np.random.default_rng(1)
    words = {rng.integers(0, 256, 12, dtype=np.uint8).tobytes(): 1 for _ in range(8_000)}
    counts = WordCounts.from_dict(words)
    learned = both(lambda backend: backend.learn_merges(counts, 200, lambda done: None))
    assert learned[0] == learned[1]


@pytest.fixture(scope="module")
def corpus(bible, tmp_path_factory):
    """Real text with characters of several bytes, and documents of other languages between."""
    chapters = bible.split(END)
    others = [
        "日本語の文章。\u3000改行なし" * 20,
        "Größe “quoted” naïve e\u0301 😀 \x85 x" * 10,
        "",
        "   ",
        "1234567890" * 30,
    ]
    mixed = END.join(part for pair in zip(chapters, itertools.cycle(others)) for part in pair)
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text(mixed, encoding="utf-8", newline="")
    return path


def encoded(tokenizer, path, folder, options) -> np.ndarray:
    (made,) = encode_files(tokenizer, [path], folder, None, options)
    return np.load(made.path)


@pytest.mark.parametrize(("block", "part"), [(64, 1000), (500, 500), (4096, 10_000), (1 << 17, 1 << 22)])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_blocks_and_threads_do_not_matter(trained, corpus, tmp_path, monkeypatch, block, part, threads):
    content = corpus.read_text(encoding="utf-8")
    whole = npz_bytes(count_words([corpus], [END]))
    monkeypatch.setattr(scanner, "BLOCK_BYTES", block)
    monkeypatch.setattr(text, "RANGE_BYTES", part)
    monkeypatch.setattr("minlm.fast.tokenization.options.RANGE_BYTES", part)
    options = Options(threads=threads)
    assert npz_bytes(count_words([corpus], [END], options)) == whole
    ids = encoded(trained, corpus, tmp_path, options)
    unfinished = [256] * bool(content.split(END)[-1].strip())
    assert ids.tolist() == trained.encode(content) + unfinished


@pytest.mark.parametrize("backend", ["numba", "python"])
@pytest.mark.parametrize("num_shards", [1, 2, 3, 4, 61])
def test_shards_together_are_the_whole(trained, corpus, tmp_path, backend, num_shards):
    whole_ids = encoded(trained, corpus, tmp_path, Options())
    count_words_to_file([corpus], [END], tmp_path / "whole.npz")
    content = corpus.read_bytes()
    tokenizer = BPETokenizer(trained.vocab, trained.merges, [END], backend)
    ids, files, num_bytes = [], [], 0
    for shard in [(index, num_shards) for index in range(1, num_shards + 1)]:
        options = Options(shard=shard, backend=backend, threads=1)
        files.append(tmp_path / f"{shard[0]}.npz")
        count_words_to_file([corpus], [END], files[-1], options)
        (made,) = encode_files(tokenizer, [corpus], tmp_path / "shards", None, options)
        assert made.path.name == f"corpus.{shard[0]}-of-{shard[1]}.npy"
        num_bytes += made.num_bytes
        ids.append(np.load(made.path))
        assert len(ids[-1]) == 0 or ids[-1][-1] == 256 or content[:num_bytes].rstrip().endswith(END.encode())
    assert np.concatenate(ids).tolist() == whole_ids.tolist()
    assert num_bytes == len(content)
    for some_order in (files, files[::-1]):
        assert npz_bytes(count_words(some_order, [END])) == (tmp_path / "whole.npz").read_bytes()


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from([END, "x", " y", "\n", "中", "<|", "<|b|>"]), min_size=1).map("".join), st.integers(1, 9)
)
def test_shards_of_any_text(trained, tmp_path_factory, content, num_shards):
    folder = tmp_path_factory.mktemp("any")
    (folder / "a.txt").write_bytes(content.encode())
    whole = encoded(trained, folder / "a.txt", folder, Options(threads=1)).tolist()
    shards = [
        encoded(trained, folder / "a.txt", folder, Options(threads=1, shard=(index + 1, num_shards)))
        for index in range(num_shards)
    ]
    assert np.concatenate(shards).tolist() == whole


def test_shards_need_the_separator(tmp_path):
    (tmp_path / "a.txt").write_text("x", "utf-8")
    with pytest.raises(MinlmError, match=r"shards begin behind <\|endoftext\|>, so it must be one of the special"):
        count_words([tmp_path / "a.txt"], ["<x>"], Options(shard=(1, 2)))


@pytest.mark.parametrize("backend", ["numba", "python"])
@pytest.mark.parametrize("block", [64, 1 << 17])
def test_bytes_that_are_kept_survive(trained, tmp_path, monkeypatch, backend, block):
    content = bytes(range(256)) * 3 + b" caf\xe9 \xff\xfe" + END.encode() + b"\xc3" + END.encode() + b" \xe4\xb8 x"
    (tmp_path / "a.txt").write_bytes(content)
    monkeypatch.setattr(scanner, "BLOCK_BYTES", block)
    tokenizer = BPETokenizer(trained.vocab, trained.merges, [END], backend)
    ids = encoded(tokenizer, tmp_path / "a.txt", tmp_path, Options(keep_invalid=True, backend=backend))
    assert tokenizer.decode_bytes(ids.tolist()) == content + END.encode()
    counts = count_words([tmp_path / "a.txt"], [END], Options(keep_invalid=True, backend=backend))
    assert sum(len(word) * count for word, count in counts.as_dict().items()) == len(content) - 2 * len(END)
    with pytest.raises(MinlmError, match=r"byte 0x80 at offset 128\. .*--invalid_utf8 keep"):
        count_words([tmp_path / "a.txt"], [END], Options(backend=backend))


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads(threads):
    with pytest.raises(MinlmError, match=f"threads must be 1 or more, not {threads}"):
        Options(threads=threads)


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0)])
def test_no_such_shard(shard):
    with pytest.raises(MinlmError, match=f"there is no shard {shard[0]}/{shard[1]}"):
        Options(shard=shard)


@pytest.mark.parametrize(
    ("name", "num_bytes", "compiled", "expected"),
    [
        ("auto", 10, False, "python"),
        ("auto", 10, True, "numba"),
        ("auto", backends.WORTH_COMPILING + 1, False, "numba"),
        ("numba", 10, False, "numba"),
        ("python", 10**12, True, "python"),
    ],
)
def test_plain_python_until_kernels_are_worth_compiling(monkeypatch, name, num_bytes, compiled, expected):
    monkeypatch.setattr(backends.cache, "are_compiled", lambda: compiled)
    assert choose_backend(name, num_bytes) == expected
    assert Options(threads=3).threads_for(1 << 30, expected) == {"numba": 3, "python": 1}[expected]


def test_many_short_strings_are_worth_compiling(monkeypatch):
    monkeypatch.setattr(backends.cache, "are_compiled", lambda: False)
    monkeypatch.setattr(backends, "WORTH_COMPILING", 100)
    tokenizer, made = merge_tokenizer("auto"), []
    make = tokenizer.make_encoder
    monkeypatch.setattr(tokenizer, "make_encoder", lambda backend: made.append(backend) or make(backend=backend))
    reference = merge_tokenizer("python").encode(" the aabb")
    assert all(tokenizer.encode(" the aabb") == reference for _ in range(20))
    assert made == ["python", "numba"]


def test_several_texts_together_are_worth_compiling(monkeypatch, tmp_path):
    chosen = []
    monkeypatch.setattr(backends.cache, "are_compiled", lambda: False)
    monkeypatch.setattr(backends, "WORTH_COMPILING", 100)
    for module in ("counting", "encode_file"):
        name = f"minlm.tokenization.{module}.choose_backend_for_files"
        monkeypatch.setattr(name, lambda *asked: chosen.append(choose_backend(*asked)) or chosen[-1])
    paths = [tmp_path / f"{number}.txt" for number in range(3)]
    for path in paths:
        path.write_text("abc " * 10)
    for some in (paths[:2], paths):
        count_words(some, [END])
        list(encode_files(merge_tokenizer("auto"), some, tmp_path))
    count_words(paths, [END], Options(shard=(1, 2)))
    assert chosen == ["python", "python", "numba", "numba", "python"]


def test_no_such_backend(tmp_path):
    with pytest.raises(MinlmError, match="there is no backend 'rust'; take one of auto, numba, python"):
        merge_tokenizer("rust")
    (tmp_path / "a.txt").write_text("x", "utf-8")
    with pytest.raises(MinlmError, match="there is no backend 'rust'"):
        count_words([tmp_path / "a.txt"], [END], Options(backend="rust"))
