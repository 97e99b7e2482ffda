"""File locks: waiting, refusing, and systems or file systems without locks."""

import errno
import os
import subprocess
import sys

import pytest

from minlm import locks
from minlm.corpus.download import _open_part
from minlm.corpus.web import Pace
from minlm.errors import MinlmError
from minlm.locks import open_locked
from minlm.pipeline.rules import lock_folder
from minlm.training.state import RunState

HOLDER = """
import sys
from minlm.locks import open_locked
file = open_locked(sys.argv[1], "a")
print("locked", flush=True)
sys.stdin.readline()
exec(sys.argv[2])
"""


def hold(path, at_the_end=""):
    """A process that holds the lock until it receives a line."""
    command = [sys.executable, "-c", HOLDER, str(path), at_the_end]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "locked\n"
    return holder


def let_go(holder):
    holder.stdin.write("\n")
    holder.stdin.flush()


@pytest.mark.parametrize(
    "at_the_end",
    ["", "import os; os.remove(sys.argv[1])", "import os; os.rename(sys.argv[1], sys.argv[1] + '.done')"],
)
def test_waits_for_the_holder_and_then_locks_the_file_of_that_name(tmp_path, caplog, at_the_end):
    path = tmp_path / "folder" / "lock"
    holder = hold(path, at_the_end)
    with pytest.raises(MinlmError, match="it is taken"):
        open_locked(path, "a", busy="it is taken", wait=False)

    class LetGo:
        """Its text is read once the lock is known to be taken."""

        def __str__(self):
            let_go(holder)
            return "it is taken"

    with caplog.at_level("INFO", logger="minlm"), open_locked(path, "a", busy=LetGo()) as file:
        assert os.path.samestat(path.stat(), os.fstat(file.fileno()))
    assert caplog.messages == ["waiting: it is taken"]
    assert holder.wait() == 0


def test_neither_a_killed_holder_nor_its_children_keep_the_lock(tmp_path):
    child = f"import subprocess; subprocess.Popen([{sys.executable!r}, '-c', 'import time; print(); time.sleep(60)'])"
    holder = hold(tmp_path / "lock", f"{child}; sys.stdin.read()")
    let_go(holder)
    assert holder.stdout.readline() == "\n"  # of the child, which lives on
    holder.kill()
    holder.wait()
    open_locked(tmp_path / "lock", "a", wait=False).close()


@pytest.mark.parametrize("number", sorted(set(locks.NO_LOCKS)))
def test_a_file_system_without_locks_causes_one_warning(tmp_path, monkeypatch, caplog, number):
    def fail(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", fail)
    monkeypatch.setattr(locks, "_warned", False)
    lock_folder(str(tmp_path / "workflow.lock"))
    Pace(0, tmp_path / "last").wait()
    with RunState(tmp_path / "state", "x"):
        pass
    with _open_part(tmp_path / "file"):
        pass
    (warning,) = [message for message in caplog.messages if "cannot be locked" in message]
    assert os.strerror(number) in warning


def test_other_errors_of_a_lock_are_not_hidden(tmp_path, monkeypatch):
    def fail(file, how):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("fcntl.flock", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        open_locked(tmp_path / "lock", "a")


PROGRAMS = {
    "catalog": "--output x",
    "download": "--url http://x --output x",
    "generate": "--checkpoint x --vocab_path x --merges_path x",
    "train": "--train_tokens x --val_tokens x",
    "train_tokenizer": "x",
}


@pytest.mark.parametrize(("name", "flags"), PROGRAMS.items())
def test_native_windows_is_named(tmp_path, name, flags):
    """There is no fcntl there."""
    code = f"import sys; sys.modules['fcntl'] = None; from minlm.scripts import {name}; {name}.main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *flags.split()], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "Linux, on macOS and in WSL" in line


def test_native_windows_is_named_by_the_workflow(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with pytest.raises(MinlmError, match="WSL"):
        lock_folder(str(tmp_path / "lock"))
