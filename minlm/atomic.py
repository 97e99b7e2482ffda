"""Atomic file writing: a reader sees the old file or the complete new one, never a part.

Each file is written under a temporary name in the same folder, flushed to disk, and renamed. If several processes write
the same file, the last rename wins. A killed process leaves at most a hidden `.NAME.PROCESS-N.tmp`, which the next
writer of NAME removes.
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

ABANDONED_SECONDS = 86_400  # a temporary file from another machine counts as abandoned when it is this old

_numbers = itertools.count()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; rename it to `path` when the block succeeds, and remove it when the block fails.

    Missing parent folders are created.

    Raises:
        MinlmError: the file cannot be written, for example because the folder is read-only or the disk is full.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise MinlmError(f"cannot write {path}: it exists and is not a regular file. Choose another name.")
    with _temporary(path) as temporary:
        yield temporary
        _fsync(temporary)
        os.replace(temporary, path)


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Like `open(path, mode)` for writing, but atomic. Mode "w" writes UTF-8 with LF line ends, "wb" writes bytes."""
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
    with atomic_path(path) as temporary, open(temporary, mode, 1 << 20, encoding, newline=newline) as handle:
        yield handle


@contextmanager
def atomic_folder(path: str | Path, names: Collection[str]) -> Iterator[Path]:
    """Like `atomic_path`, for a folder with the files `names`. It replaces an existing folder as a whole.

    Raises:
        MinlmError: `path` is a file, is a folder with other files, or cannot be written.
    """
    path = Path(path)
    if path.is_file():
        raise MinlmError(f"cannot write {path}: it exists and is not a folder. Choose another name.")
    with suppress(FileNotFoundError, NotADirectoryError):
        if foreign := sorted({entry.name for entry in path.iterdir()} - set(names)):
            raise MinlmError(f"cannot write {path}: the folder also contains {foreign[0]}. Choose another name.")
    with _temporary(path) as temporary:
        temporary.mkdir()
        yield temporary
        for file in (*temporary.iterdir(), temporary):
            _fsync(file)
        _replace_folder(temporary, path)


def temporaries(path: Path) -> list[Path]:
    """The temporary files of all writers of `path`: running, killed, and of earlier versions (.NAME.PID.tmp)."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.({process.NAME}-\d+|\d+(\.old)?)\.tmp")
    return [path.with_name(name) for name in os.listdir(path.parent) if pattern.fullmatch(name)]


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Yield an unused name beside `path`; remove it at the end, and turn errors of writing into a MinlmError."""
    temporary = _temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        yield temporary
        _fsync(path.parent)
    except OSError as error:
        failed = Path(error.filename) if error.filename is not None else temporary
        if failed not in (path, *path.parents) and not failed.is_relative_to(temporary):
            raise  # the error is about another file
        reason = error.strerror or str(error)
        raise MinlmError(
            f"cannot write {path}: {reason}. Check free space and permissions of {path.parent}/ and run again."
        ) from error
    finally:
        _remove(temporary)


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{process.name()}-{next(_numbers)}.tmp")


def _remove_stale(path: Path) -> None:
    """Remove what killed writers of `path` left behind, but no files of running writers."""
    for temporary in temporaries(path):
        with suppress(OSError):  # already removed by another writer
            writer = re.search(process.NAME, temporary.name[len(path.name) :])
            ended = process.has_ended(writer[0]) if writer else None
            if ended or (ended is None and time.time() - temporary.stat().st_mtime > ABANDONED_SECONDS):
                _remove(temporary)


def _remove(path: Path) -> None:
    """Remove a file or folder if it exists and permissions allow it."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _replace_folder(new: Path, path: Path) -> None:
    """Rename `new` to `path`. An existing `path` is moved away first: no folder can be renamed onto one with files."""
    earlier = _temporary_name(path)
    try:
        while True:
            try:
                os.replace(new, path)
                break
            except OSError as error:
                # ENOTDIR: `path` is a link to a folder, or a file. Another writer may have moved it away by now.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR) or path.is_file():
                    raise
            _remove(earlier)
            with suppress(FileNotFoundError):
                os.replace(path, earlier)
    except BaseException:
        with suppress(OSError):  # another writer has been faster
            os.replace(earlier, path)
        raise
    _remove(earlier)


def check_writable(path: str | Path) -> None:
    """Check, before long work starts, that a file can be written, and create its folder.

    Raises:
        MinlmError: it cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(path.parent, os.W_OK) else "the folder is read-only"
    except (FileExistsError, NotADirectoryError):
        reason = "its parent is a file, not a folder"
    except OSError as error:
        reason = error.strerror or str(error)
    if path.is_dir():
        reason = "it is a folder"
    if reason:
        raise MinlmError(f"cannot write {path}: {reason}. Choose another path.")


def sha256(*paths: str | Path) -> str:
    """Hex SHA-256 of the contents of the files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as handle:
            hashlib.file_digest(handle, lambda: digest)
    return digest.hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
