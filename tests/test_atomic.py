"""Writing files: all or nothing."""

import errno
import hashlib
import os

import pytest

from minlm.atomic import atomic_path, atomic_write, sha256
from minlm.errors import MinlmError


def test_writes_and_leaves_nothing_else(tmp_path):
    with atomic_write(tmp_path / "new/folder/a.txt") as handle:
        handle.write("ä\n")
    assert (tmp_path / "new/folder/a.txt").read_bytes() == "ä\n".encode()
    assert os.listdir(tmp_path / "new/folder") == ["a.txt"]


def test_a_failure_keeps_the_old_file_and_removes_the_new(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(TypeError), atomic_write(target, "wb") as handle:
        handle.writelines([b"new", "text"])
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_the_final_name_does_not_exist_while_writing(tmp_path):
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        assert not (tmp_path / "a.txt").exists()
        assert temporary.parent == tmp_path  # same file system, so the rename is atomic


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / ".a.txt.4242.tmp").write_text("half")
    (tmp_path / ".b.txt.4242.tmp").write_text("another file's")
    with atomic_write(tmp_path / "a.txt") as handle:
        handle.write("whole")
    assert sorted(os.listdir(tmp_path)) == [".b.txt.4242.tmp", "a.txt"]


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(MinlmError, match=r"cannot write .*file/a\.txt"), atomic_write(tmp_path / "file/a.txt"):
        pass


@pytest.mark.parametrize("name", ["folder", "pipe"])
def test_folders_and_devices_are_never_replaced(tmp_path, name):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MinlmError, match="no plain file"), atomic_write(tmp_path / name):
        pass
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]


def test_full_disk_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MinlmError, match="No space left on device"), atomic_write(tmp_path / "a.txt") as handle:
        handle.write("text")
    assert os.listdir(tmp_path) == []


def test_other_files_errors_keep_their_own_name(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a.txt"):
        (tmp_path / "missing input").read_text()


def test_sha256_of_several_files_is_that_of_their_contents(tmp_path):
    (tmp_path / "a").write_bytes(b"1" * 3_000_000)
    (tmp_path / "b").write_bytes(b"2")
    assert sha256(tmp_path / "a", tmp_path / "b") == hashlib.sha256(b"1" * 3_000_000 + b"2").hexdigest()
