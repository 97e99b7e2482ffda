import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import END

from minlm.bulk.encode_files import encode_files
from minlm.errors import MinlmError
from minlm.fast.tokenization import scanner
from minlm.tokenization import BPETokenizer


def encode(tokenizer, path, output_dir, dtype=None) -> np.ndarray:
    (made,) = encode_files(tokenizer, [path], output_dir, dtype)
    ids = np.load(made.path, mmap_mode="r")
    assert (made.num_tokens, made.num_bytes) == (len(ids), path.stat().st_size)
    assert made.dtype == ids.dtype
    return ids


def test_ids_are_those_of_the_whole_text(trained, bible, bible_file, tmp_path):
    ids = encode(trained, bible_file, tmp_path)
    assert ids.tolist() == trained.encode(bible)
    assert ids.dtype == np.uint16
    assert ids.ndim == 1
    assert (tmp_path / "train.npy").read_bytes()[:8] == b"\x93NUMPY\x01\x00"


def test_the_file_is_what_numpy_writes(trained, bible, bible_file, tmp_path):
    encode(trained, bible_file, tmp_path)
    np.save(tmp_path / "numpy.npy", np.array(trained.encode(bible), dtype=np.uint16))
    assert (tmp_path / "train.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


@pytest.mark.parametrize(
    ("content", "appended"),
    [
        (f"doc1\n{END}\ndoc2\n", True),
        (f"doc1\n{END}\ndoc2\n{END}\n", False),
        (f"doc1{END}doc2{END}", False),
        ("one document without a separator", True),
        (f"{END}\n  {END}\n\n", False),
        (f"doc{END}\n\nx", True),
        ("\ufeffwith a byte order mark\r\nand CRLF\r\n", True),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 16, 1 << 20])
def test_every_document_is_followed_by_the_separator(trained, tmp_path, monkeypatch, content, appended, block_bytes):
    monkeypatch.setattr(scanner, "BLOCK_BYTES", block_bytes)
    (tmp_path / "a.txt").write_bytes(content.encode())
    expected = trained.encode(content) + [256] * appended
    assert encode(trained, tmp_path / "a.txt", tmp_path).tolist() == expected


@given(content=st.lists(st.text(max_size=10) | st.just(END), min_size=1).map("".join).filter(bool))
def test_ids_of_any_text(trained, tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    (folder / "a.txt").write_bytes(content.encode())
    unfinished = bool(content.split(END)[-1].strip())
    assert encode(trained, folder / "a.txt", folder).tolist() == trained.encode(content) + [256] * unfinished


def tokenizer_of_size(size: int) -> BPETokenizer:
    vocab = {i: bytes([i]) for i in range(256)} | {256: END.encode()}
    return BPETokenizer(vocab | {i: f"<{i}>".encode() for i in range(257, size)}, [], [END, f"<{size - 1}>"])


@pytest.mark.parametrize(
    ("size", "asked", "got"),
    [
        (65_536, None, "uint16"),
        (65_537, None, "uint32"),
        (65_536, "uint16", "uint16"),
        (300, "int32", "int32"),
        (300, "int64", "int64"),
        (300, "uint32", "uint32"),
    ],
)
def test_dtype(tmp_path, size, asked, got):
    (tmp_path / "a.txt").write_text(f"x<{size - 1}>", "utf-8")
    ids = encode(tokenizer_of_size(size), tmp_path / "a.txt", tmp_path, asked)
    assert ids.dtype == got
    assert ids.tolist() == [ord("x"), size - 1, 256]


def test_dtype_too_small(tmp_path):
    with pytest.raises(MinlmError, match=r"uint16 ends at 65,535, but the vocabulary has ids up to 65,536"):
        encode_files(tokenizer_of_size(65_537), [tmp_path / "missing.txt"], tmp_path, "uint16")


def test_unknown_dtype(trained, tmp_path):
    with pytest.raises(MinlmError, match="output_dtype is 'float32'; it must be one of uint16"):
        encode_files(trained, [tmp_path / "missing.txt"], tmp_path, "float32")


def test_without_the_separator_as_a_special_token(tmp_path):
    tokenizer = BPETokenizer({i: bytes([i]) for i in range(256)}, [])
    with pytest.raises(MinlmError, match="must be one of the special tokens"):
        encode_files(tokenizer, [tmp_path / "a.txt"], tmp_path)


def test_two_inputs_of_the_same_name(trained, tmp_path):
    with pytest.raises(MinlmError, match=r"a/x.txt and .*b/x.md would both become .*x.npy"):
        encode_files(trained, [tmp_path / "a/x.txt", tmp_path / "b/x.md"], tmp_path)


def test_bad_inputs_are_found_before_any_work(trained, bible_file, tmp_path):
    (tmp_path / "empty.txt").touch()
    for name, message in (("missing.txt", "there is no file"), ("empty.txt", "is empty"), (".", "is a folder")):
        with pytest.raises(MinlmError, match=message):
            encode_files(trained, [bible_file, tmp_path / name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_not_utf8_leaves_nothing(trained, bible, tmp_path):
    (tmp_path / "a.txt").write_bytes(bible.encode() + b"\xff")
    with pytest.raises(MinlmError, match=rf"a.txt is not UTF-8: byte 0xff at offset {len(bible.encode())}\."):
        list(encode_files(trained, [tmp_path / "a.txt"], tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_output_folder_that_cannot_be(trained, bible_file, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MinlmError, match=r"cannot write .*train.npy"):
        list(encode_files(trained, [bible_file], tmp_path / "file"))


def test_disk_full_leaves_nothing(trained, bible_file, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MinlmError, match=r"cannot write .*train.npy: No space left on device"):
        list(encode_files(trained, [bible_file], tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


KILLED_HALF_WAY = """
import os, signal, sys
from minlm.bulk.encode_files import encode_files
from minlm.bulk.options import Options
from minlm.bulk.text_file import TextFile
from minlm.tokenization import BPETokenizer

read, calls = TextFile.read_into, []

def read_or_die(self, buffer, offset):
    calls.append(offset)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(self, buffer, offset)

TextFile.read_into = read_or_die
tokenizer = BPETokenizer.from_files(sys.argv[1], sys.argv[2], ["<|endoftext|>"])
list(encode_files(tokenizer, [sys.argv[3]], sys.argv[4], options=Options(part_bytes=1 << 15)))
"""


def test_killed_half_way_leaves_no_npy(trained, trained_files, bible_file, bible, tmp_path):
    command = [sys.executable, "-c", KILLED_HALF_WAY, *map(str, (*trained_files, bible_file, tmp_path))]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".tmp")
    assert encode(trained, bible_file, tmp_path).tolist() == trained.encode(bible)
    assert [path.name for path in tmp_path.iterdir()] == ["train.npy"]  # the rest has been cleared away
