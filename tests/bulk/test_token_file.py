"""Token files: slices as numpy's, memory that stays flat, a record that is as good as reading the file."""

import hashlib
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minlm.bulk import token_file
from minlm.bulk.token_file import TokenFile, token_record
from minlm.errors import MinlmError
from minlm.training.tokens import open_tokens


@pytest.fixture(scope="module")
def hundred(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "a.npy"
    np.save(path, np.arange(100, dtype=np.uint32))
    return TokenFile(path)


@given(st.none() | st.integers(-120, 120), st.none() | st.integers(-120, 120))
def test_slices(hundred, start, stop):
    assert hundred[start:stop].tolist() == list(range(100))[start:stop]


def file_pages() -> int:
    """Bytes of files that count as memory of this process."""
    return 1024 * int(re.search(r"RssFile:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_memory_stays_flat(tmp_path):
    path = tmp_path / "large.npy"
    np.lib.format.open_memmap(path, "w+", np.uint16, (1 << 26,))  # 128 MiB, with no block on the disk
    before = file_pages()
    tokens = TokenFile(path)
    for start in range(0, len(tokens), 1 << 20):
        assert tokens[start : start + (1 << 20)].max() == 0
    assert file_pages() - before < 8 << 20
    mapped = np.load(path, mmap_mode="r")
    assert mapped.max() == 0
    assert file_pages() - before > 100 << 20  # what is avoided


def test_a_file_that_shrinks_is_not_read_as_if_it_were_whole(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(100, dtype=np.uint16))
    tokens = TokenFile(tmp_path / "a.npy")
    os.truncate(tmp_path / "a.npy", 200)
    with pytest.raises(MinlmError, match=r"a\.npy: could not read tokens 80 to 90"):
        tokens[80:90]


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A token file with a record; reading it again is an error until `monkeypatch.undo()`."""
    monkeypatch.setattr(token_file, "RECORDED_SIZE", 0)
    path = tmp_path / "a.npy"
    np.save(path, np.array([3, 1, 40, 2], dtype=np.uint16))
    token_record(path)
    monkeypatch.setattr(token_file, "_read_through", lambda tokens: pytest.fail("the file is read again"))
    return path


def test_a_recorded_file_is_not_read_again(recorded):
    record = token_record(recorded)
    assert record == {"sha256": hashlib.sha256(recorded.read_bytes()).hexdigest(), "smallest": 1, "largest": 40}
    open_tokens(recorded, 41, 1)
    with pytest.raises(MinlmError, match="token id 40 at position 2 does not fit vocab_size 40"):
        open_tokens(recorded, 40, 1)


@pytest.mark.parametrize("change", ["touched", "other ids", "damaged record", "no record"])
def test_a_stale_record_is_replaced(recorded, monkeypatch, change):
    place = recorded.with_name(".a.npy.record")
    if change == "touched":
        os.utime(recorded, ns=(1, 1))
    elif change == "other ids":
        np.save(recorded, np.array([3, 1, 41, 2], dtype=np.uint16))
        os.utime(recorded, ns=(1, 1))
    elif change == "damaged record":
        place.write_text('{"size": 136')
    else:
        place.unlink()
    with pytest.raises(pytest.fail.Exception, match="read again"):
        token_record(recorded)
    monkeypatch.undo()
    monkeypatch.setattr(token_file, "RECORDED_SIZE", 0)
    record = token_record(recorded)
    assert record["sha256"] == hashlib.sha256(recorded.read_bytes()).hexdigest()
    assert record["largest"] == (41 if change == "other ids" else 40)
    monkeypatch.setattr(token_file, "_read_through", lambda tokens: pytest.fail("the file is read again"))
    assert token_record(recorded) == record


def test_small_files_have_no_record(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(100, dtype=np.uint16))
    assert token_record(tmp_path / "a.npy")["largest"] == 99
    assert os.listdir(tmp_path) == ["a.npy"]
