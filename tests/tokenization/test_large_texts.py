"""Words of megabytes, texts without separators, vocabularies and files beyond 16 and 32 bits."""

import base64

import numpy as np
import pytest
from published import END

from minlm.tokenization import BPETokenizer, text
from minlm.tokenization.backends import Options
from minlm.tokenization.counting import count_words
from minlm.tokenization.encode_file import encode_files
from minlm.tokenization.pretokenize import find_words
from minlm.tokenization.train import train_bpe

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
    content = f"before {LONG_WORDS[name]} behind {END}"
    (tmp_path / "a.txt").write_text(content, "utf-8")
    (made,) = encode_files(trained, [tmp_path / "a.txt"], tmp_path)
    ids = np.load(made.path)
    assert trained.decode_bytes(ids.tolist()) == content.encode()
    counts = count_words([tmp_path / "a.txt"], [END])
    words = find_words(content.removesuffix(END))
    assert sum(counts.as_dict().values()) == len(words)
    assert max(map(len, counts.words())) == max(len(word.encode()) for word in words)


def test_learning_from_a_word_of_ten_megabytes():
    word = b"abc" * (MEGABYTES // 3)
    assert train_bpe({word: 2}, 256 + 3)[1] == [(b"b", b"c"), (b"a", b"bc"), (b"abc", b"abc")]


def test_a_text_without_separators_is_read_in_blocks(trained, bible, tmp_path, monkeypatch):
    content = bible.replace(END, "")
    (tmp_path / "a.txt").write_text(content, "utf-8")
    longest, open_text = [], text.open_text
    for name in ("BLOCK_BYTES", "RANGE_BYTES"):
        monkeypatch.setattr(text, name, 5000)

    def watched(path):
        with open_text(path) as read:
            yield lambda place, size: (longest.append(size), read(place, size))[1]

    monkeypatch.setattr(text, "open_text", text.contextmanager(watched))
    (made,) = encode_files(trained, [tmp_path / "a.txt"], tmp_path, None, Options(threads=1))
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
def test_a_file_beyond_32_bits(trained, tmp_path):
    """4.4 GB: a gap of zeros, which a file system need not store, and text on either side."""
    size = 4_400_000_000
    document = f"the last document{END}".encode()
    with open(tmp_path / "a.txt", "wb") as file:
        file.write(f"the first{END}".encode())
        for place in range(10_000_000, size, 10_000_000):  # words that end
            file.seek(place)
            file.write(f" a{END}".encode())
        file.seek(size)
        file.write(document)
    counts = count_words([tmp_path / "a.txt"], [END], Options(shard=(440, 440))).as_dict()
    assert counts[b" last"] == 1
    (made,) = encode_files(trained, [tmp_path / "a.txt"], tmp_path, None, Options(shard=(439, 440)))
    assert made.num_bytes < 21_000_000
    (made,) = encode_files(trained, [tmp_path / "a.txt"], tmp_path, "uint16")
    ids = np.load(made.path, mmap_mode="r")
    assert ids[-len(trained.encode(document.decode())) :].tolist() == trained.encode(document.decode())
    assert np.count_nonzero(ids == 256) == 1 + 439 + 1
    with open(tmp_path / "a.txt", "ab") as file:
        file.write(b"\xff")
    with pytest.raises(Exception, match=f"offset {size + len(document)}"):
        count_words([tmp_path / "a.txt"], [END])
