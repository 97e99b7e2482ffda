"""Writing files so that a reader never sees half of one.

Everything is written to a temporary name in the same folder, flushed to the disk and then renamed. Several processes
may write the same file: each has a temporary name of its own, and the last rename wins.
A process killed at any instant leaves at most a hidden `.NAME.PROCESS-N.tmp`, which the next writer of NAME removes.
"""

import errno
import hashlib
import itertools
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from minlm import process
from minlm.errors import MinlmError

ABANDONED_SECONDS = 86_400  # a writer on another machine, where we cannot look, is never silent for so long

_numbers = itertools.count()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    Missing parent folders are created. If the block fails, the temporary file is removed.

    Raises:
        MinlmError: the folder is read-only, the disk is full, or the like.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise MinlmError(f"cannot write {path}: it is there already and is no plain file. Give another name.")
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        yield temporary
        _fsync(temporary)
        os.replace(temporary, path)
        _fsync(path.parent)
    except OSError as error:
        if error.filename is not None and Path(error.filename) not in (temporary, path, path.parent):
            raise  # another file failed inside the block: not ours to explain
        reason = error.strerror or str(error)
        raise MinlmError(
            f"cannot write {path}: {reason}. Check free space and permissions of {path.parent}/ and run again."
        ) from error
    finally:
        with suppress(OSError):  # gone already, or the folder could not be made
            temporary.unlink()


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Like `open(path, mode)` for writing ("w" is UTF-8 with LF line ends, "wb" is bytes), but all or nothing."""
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
    with atomic_path(path) as temporary, open(temporary, mode, 1 << 20, encoding, newline=newline) as handle:
        yield handle


@contextmanager
def atomic_folder(path: str | Path, names: Collection[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path` for the files `names`; it becomes `path` when the block succeeds.

    An earlier folder is replaced as a whole. If the block fails, the temporary folder is removed.

    Raises:
        MinlmError: `path` is a file or holds others than these files, the disk is full, or the like.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise MinlmError(f"cannot write {path}: it is there already and is no folder. Give another name.")
    with suppress(FileNotFoundError, NotADirectoryError):
        if foreign := sorted({entry.name for entry in path.iterdir()} - set(names)):
            raise MinlmError(
                f"cannot write {path}: the folder has something else in it ({foreign[0]}). Give another name."
            )
    temporary, earlier = _temporary(path), _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        temporary.mkdir()
        yield temporary
        for file in (*temporary.iterdir(), temporary):
            _fsync(file)
        _replace_folder(temporary, path, earlier)
        _fsync(path.parent)
    except OSError as error:
        if error.filename is not None and not Path(error.filename).is_relative_to(path.parent):
            raise  # another file failed inside the block: not ours to explain
        raise MinlmError(
            f"cannot write {path}: {error.strerror or error}. "
            f"Check free space and permissions of {path.parent}/ and run again."
        ) from error
    finally:
        if earlier.exists() and not path.exists():
            os.replace(earlier, path)
        for leftover in (temporary, earlier):
            shutil.rmtree(leftover, ignore_errors=True)


def temporaries(path: Path) -> list[Path]:
    """What writers of `path`, also killed ones, have beside it. Those of an earlier version have a PID alone."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.({process.NAME}-\d+|\d+(\.old)?)\.tmp")
    return [path.with_name(name) for name in os.listdir(path.parent) if pattern.fullmatch(name)]


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{process.name()}-{next(_numbers)}.tmp")


def _remove_stale(path: Path) -> None:
    """Remove what killed writers of `path` have left; those that live keep theirs."""
    for temporary in temporaries(path):
        with suppress(OSError):  # somebody else's, or removed by another writer
            writer = re.search(process.NAME, temporary.name[len(path.name) :])
            ended = process.has_ended(writer[0]) if writer else None
            if ended or (ended is None and time.time() - temporary.stat().st_mtime > ABANDONED_SECONDS):
                _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _replace_folder(new: Path, path: Path, earlier: Path) -> None:
    """Rename `new` to `path`; what is there, perhaps since a moment ago, becomes `earlier`."""
    while True:
        try:
            return os.replace(new, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR) or not path.is_dir():
                raise  # ENOTDIR: it is a link to a folder
        shutil.rmtree(earlier, ignore_errors=True)
        with suppress(FileNotFoundError):
            os.replace(path, earlier)


def check_writable(path: str | Path) -> None:
    """Make the folder of a file that long work will write at its end, and see that it can be written.

    Raises:
        MinlmError: it cannot.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(path.parent, os.W_OK) else "the folder is read-only"
    except (FileExistsError, NotADirectoryError):
        reason = "what should be its folder is a file"
    except OSError as error:
        reason = error.strerror or str(error)
    if path.is_dir():
        reason = "it is a folder"
    if reason:
        raise MinlmError(f"cannot write {path}: {reason}. Choose another place for it.")


def sha256(*paths: str | Path) -> str:
    """Hex SHA-256 of the contents of the given files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
