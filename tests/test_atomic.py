"""Writing files: all or nothing."""

import errno
import hashlib
import os
import re
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from minlm import process
from minlm.atomic import atomic_folder, atomic_path, atomic_write, sha256
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


WRITER = """
import sys, time
from minlm.atomic import atomic_folder, atomic_write
kind, path, number = sys.argv[1:]
for turn in range(60):
    text = f"{number} {turn}\\n" * 2000
    if kind == "file":
        with atomic_write(path) as handle:
            handle.write(text)
    else:
        with atomic_folder(path, ["text"]) as folder:
            (folder / "text").write_text(text)
    time.sleep(0.001)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_many_processes_write_the_same_path(tmp_path, kind):
    """No writer fails, a reader sees complete files, and only the last file stays."""
    path = tmp_path / "a"
    command = [sys.executable, "-c", WRITER, kind, str(path)]
    writers = [subprocess.Popen([*command, str(number)]) for number in range(3)]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        with suppress(FileNotFoundError, NotADirectoryError):  # for an instant, there is no folder
            lines = (path if kind == "file" else path / "text").read_text().splitlines()
            assert lines == lines[:1] * 2000
            seen.add(lines[0])
        time.sleep(0.001)
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(seen) > 1
    assert os.listdir(tmp_path) == ["a"]


HOLDER = """
import os, sys
from minlm.atomic import atomic_folder, atomic_write
with (atomic_write(sys.argv[1]) if sys.argv[2] == "file" else atomic_folder(sys.argv[1], [])):
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_leftovers_are_removed_after_their_process_has_ended(tmp_path, kind):
    names = {kind: tmp_path / kind / "a", "of another name": tmp_path / kind / "a.b"}
    holders = []
    for path in names.values():
        command = [sys.executable, "-c", HOLDER, str(path), kind]
        holders.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert holders[-1].stdout.readline() == "writing\n"
    path = names[kind]

    def write():
        with atomic_write(path) if kind == "file" else atomic_folder(path, []):
            pass
        return sorted(name.count(".") for name in os.listdir(path.parent))

    assert write() == [0, 3, 4]  # a, .a.PROCESS.tmp, .a.b.PROCESS.tmp
    holders[0].kill()
    if sys.platform == "linux":  # it is a zombie and writes no more
        os.waitid(os.P_PID, holders[0].pid, os.WEXITED | os.WNOWAIT)
    else:
        holders[0].wait()
    assert write() == [0, 4]
    holders[1].communicate("")
    assert write() == [0, 1]
    holders[0].communicate()


@pytest.mark.parametrize("process", ["01234567-42-4242-0", "4242"])  # of another machine, of an earlier minlm
def test_leftovers_of_unknown_processes_are_removed_after_a_day(tmp_path, process):
    left, young = (tmp_path / f".{name}.{process}.tmp" for name in ("a.txt", "b.txt"))
    for path in (left, young, tmp_path / f".a.txt.b.txt.{process}.tmp"):
        path.write_text("half")
        os.utime(path, (0, time.time() - (0 if path == young else 90_000)))
    for name in ("a.txt", "b.txt"):
        with atomic_write(tmp_path / name) as handle:
            handle.write("whole")
    assert set(os.listdir(tmp_path)) == {"a.txt", "b.txt", young.name, f".a.txt.b.txt.{process}.tmp"}


def test_a_process_is_identified_by_more_than_its_number():
    machine, pid, start = process.name().split("-")
    assert int(pid) == os.getpid()
    assert process.has_ended(process.name()) is False
    assert process.has_ended("01234567-1-1") is None
    if sys.platform == "linux":
        assert process.has_ended(f"{machine}-{pid}-{int(start) + 1}") is True  # another process has the same number
    child = subprocess.Popen([sys.executable, "-c", "from minlm import process; print(process.name())"], stdout=-1)
    ended = child.communicate()[0].decode().strip()
    assert re.fullmatch(process.NAME, ended)
    assert process.has_ended(ended) is True


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(MinlmError, match=r"cannot write .*file/a\.txt"), atomic_write(tmp_path / "file/a.txt"):
        pass


@pytest.mark.parametrize("name", ["folder", "pipe"])
def test_folders_and_devices_are_never_replaced(tmp_path, name):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MinlmError, match="not a regular file"), atomic_write(tmp_path / name):
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
