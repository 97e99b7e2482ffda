"""Writing files so that a reader never sees half of one.

Everything is written to a temporary name in the same folder, flushed to the disk and then renamed.
A process killed at any instant leaves at most a hidden `.NAME.PID.tmp`, which the next run removes.
"""

import glob
import hashlib
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from minlm.errors import MinlmError


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):  # of a killed process
            stale.unlink(missing_ok=True)
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
    if foreign := sorted({entry.name for entry in path.iterdir()} - set(names) if path.exists() else ()):
        raise MinlmError(f"cannot write {path}: the folder has something else in it ({foreign[0]}). Give another name.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    earlier = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):  # of a killed process
            shutil.rmtree(stale)
        temporary.mkdir()
        yield temporary
        for file in (*temporary.iterdir(), temporary):
            _fsync(file)
        if path.exists():
            os.replace(path, earlier)
        os.replace(temporary, path)
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
