"""Threads, parts, shards and blocks: always the same result."""

import io
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import END

from minlm.bulk.count_words import count_words, count_words_to_file
from minlm.bulk.cuts import next_cut
from minlm.bulk.encode_files import encode_files
from minlm.bulk.options import Options
from minlm.errors import MinlmError
from minlm.fast.tokenization import scanner
from minlm.fast.tokenization.word_counts import WordCounts
from minlm.tokenization import BPETokenizer
from minlm.tokenization.patterns import PATTERNS, word_finder
from minlm.tokenization.pretokenize import PreTokenizer


def npz_bytes(counts: WordCounts) -> bytes:
    file = io.BytesIO()
    counts.write(file)
    return file.getvalue()


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
    options = Options(threads=threads, part_bytes=part)
    assert npz_bytes(count_words([corpus], [END], options)) == whole
    ids = encoded(trained, corpus, tmp_path, options)
    unfinished = [256] * bool(content.split(END)[-1].strip())
    assert ids.tolist() == trained.encode(content) + unfinished


SPECIALS = [END, "é中", "  ", "a b"]
texts = st.lists(
    st.sampled_from([*SPECIALS, ".", "\u0301", "a", " b", "中", "。", "\u3000", "1", "'ll", "\n", "é", "x" * 300]),
    max_size=20,
)


def words(text: str, find_words) -> list[str]:
    parts = PreTokenizer(SPECIALS).split(text)
    return [word for index, part in enumerate(parts) for word in ([part] if index % 2 else find_words(part))]


@given(texts.map("".join), st.integers(0, 400), st.sampled_from(list(PATTERNS)))
def test_cuts_do_not_change_words(text, position, pattern):
    content, find = text.encode(), word_finder(pattern)
    cut = next_cut(
        lambda offset, size: content[offset : offset + size],
        position,
        len(content),
        [token.encode() for token in SPECIALS],
    )
    assert cut == len(content) or cut >= position
    assert words(content[:cut].decode(), find) + words(content[cut:].decode(), find) == words(text, find)


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
    with pytest.raises(MinlmError, match=r"shards start after <\|endoftext\|>, so it must be one of the special"):
        count_words([tmp_path / "a.txt"], ["<x>"], Options(shard=(1, 2)))


@pytest.mark.parametrize("backend", ["numba", "python"])
@pytest.mark.parametrize("block", [64, 1 << 17])
def test_invalid_bytes_that_are_kept_survive(trained, tmp_path, monkeypatch, backend, block):
    content = bytes(range(256)) * 3 + b" caf\xe9 \xff\xfe" + END.encode() + b"\xc3" + END.encode() + b" \xe4\xb8 x"
    (tmp_path / "a.txt").write_bytes(content)
    monkeypatch.setattr(scanner, "BLOCK_BYTES", block)
    tokenizer = BPETokenizer(trained.vocab, trained.merges, [END], backend)
    ids = encoded(tokenizer, tmp_path / "a.txt", tmp_path, Options(keep_invalid=True, backend=backend))
    assert tokenizer.decode_bytes(ids.tolist()) == content + END.encode()
    counts = count_words([tmp_path / "a.txt"], [END], Options(keep_invalid=True, backend=backend))
    assert sum(len(word) * count for word, count in counts.items()) == len(content) - 2 * len(END)
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


def test_no_such_backend(trained, tmp_path):
    with pytest.raises(MinlmError, match="there is no backend 'rust'; take one of auto, numba, python"):
        BPETokenizer(trained.vocab, trained.merges, [END], "rust")
    (tmp_path / "a.txt").write_text("x", "utf-8")
    with pytest.raises(MinlmError, match="there is no backend 'rust'"):
        count_words([tmp_path / "a.txt"], [END], Options(backend="rust"))
