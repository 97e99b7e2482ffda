"""Words of megabytes, texts without separators, vocabularies and files beyond 16 and 32 bits."""

import base64

import numpy as np
import pytest
from published import END

from minlm.bulk import text_file
from minlm.bulk.count_words import count_words
from minlm.bulk.encode_files import encode_files
from minlm.bulk.options import Options
from minlm.errors import MinlmError
from minlm.tokenization import BPETokenizer
from minlm.tokenization.backend import load_backend
from minlm.tokenization.pretokenize import find_words
from minlm.tokenization.vocabulary import train_bpe

MEGABYTES = 10_000_000
LONG_WORDS = {
    "letters": "x" * MEGABYTES,
    "base64": base64.b64encode(np.random.default_rng(1).bytes(MEGABYTES * 3 // 4)).decode(),
    "cjk": "".join(map(chr, np.random.default_rng(2).integers(0x4E00, 0x9FA5, MEGABYTES // 3))),
    "spaces": " " * MEGABYTES,
}


@pytest.mark.parametrize("name", LONG_WORDS)
def test_a_word_of_ten_megabytes(trained, tmp_path, name):
    """What takes quadratic time would not end."""
    content = f"before {LONG_WORDS[name]} after {END}"
    (tmp_path / "a.txt").write_text(content, "utf-8")
    (made,) = encode_files(trained, [tmp_path / "a.txt"], tmp_path)
    ids = np.load(made.path)
    assert trained.decode_bytes(ids.tolist()) == content.encode()
    counts = count_words([tmp_path / "a.txt"], [END])
    words = find_words(content.removesuffix(END))
    assert sum(counts.values()) == len(words)
    assert max(map(len, counts)) == max(len(word.encode()) for word in words)


def test_learning_from_a_word_of_ten_megabytes():
    word = b"abc" * (MEGABYTES // 3)
    learn = load_backend("numba").learn_merges
    assert train_bpe({word: 2}, 256 + 3, learn=learn)[1] == [(b"b", b"c"), (b"a", b"bc"), (b"abc", b"abc")]


def test_a_text_without_separators_is_read_in_blocks(trained, bible, tmp_path, monkeypatch):
    content = bible.replace(END, "")
    (tmp_path / "a.txt").write_text(content, "utf-8")
    longest = []

    class Watched(text_file.TextFile):
        def read(self, offset, size):
            longest.append(size)
            return super().read(offset, size)

        def read_into(self, buffer, offset):
            longest.append(len(buffer))
            return super().read_into(buffer, offset)

    monkeypatch.setattr("minlm.bulk.encode_files.TextFile", Watched)
    (made,) = encode_files(trained, [tmp_path / "a.txt"], tmp_path, None, Options(threads=1, part_bytes=5000))
    assert np.load(made.path).tolist() == [*trained.encode(content), 256]
    assert max(longest) < 6000


def test_a_vocabulary_beyond_16_bits(tmp_path):
    vocab = {index: bytes([index]) for index in range(256)}
    merges = [(bytes([first]), bytes([second])) for first in range(256) for second in range(256)]
    vocab |= {256 + index: first + second for index, (first, second) in enumerate(merges)}
    tokenizer = BPETokenizer(vocab, merges, [END])
    (tmp_path / "a.txt").write_text("zz" + END, "utf-8")
    (made,) = encode_files(tokenizer, [tmp_path / "a.txt"], tmp_path)
    assert made.dtype == np.uint32
    assert np.load(made.path).tolist() == [256 + 256 * 122 + 122, 256 + 65_536]


@pytest.mark.slow
def test_a_file_beyond_32_bits(trained, bible, tmp_path):
    """4.4 GB, generated: the same text again and again, and another at the end."""
    repeated = (bible * (MEGABYTES // len(bible))).encode()
    times = 4_400_000_000 // len(repeated)
    last = f"the very last document{END}"
    with open(tmp_path / "a.txt", "wb") as file:
        for _ in range(times):
            file.write(repeated)
        file.write(last.encode())
    (tmp_path / "once.txt").write_bytes(repeated)
    once = dict(count_words([tmp_path / "once.txt"], [END]))
    ends = dict.fromkeys(map(str.encode, find_words(last.removesuffix(END))), 1)
    expected = {word: times * once.get(word, 0) + ends.get(word, 0) for word in once | ends}
    assert count_words([tmp_path / "a.txt"], [END]) == expected
    (made,) = encode_files(trained, [tmp_path / "a.txt"], tmp_path, None, Options(shard=(440, 440)))
    assert made.num_bytes < 2 * MEGABYTES
    ids = trained.encode(last)
    assert np.load(made.path)[-len(ids) :].tolist() == ids
    with open(tmp_path / "a.txt", "ab") as file:
        file.write(b"\xff")
    size = (tmp_path / "a.txt").stat().st_size
    with pytest.raises(MinlmError, match=rf"at offset {size - 1}\."):
        list(encode_files(trained, [tmp_path / "a.txt"], tmp_path, None, Options(shard=(440, 440))))
