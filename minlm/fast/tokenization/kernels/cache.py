"""The folder in which compiled kernels are kept. This module does not import numba.

The folder's name is a hash of everything that the machine code depends on, so each version finds its own kernels and
all checkouts of a version share them. The folder is in `NUMBA_CACHE_DIR` if that is set, otherwise in the user's cache,
or among the temporary files if the cache cannot be written. numba's own folders depend on a source file's path and time
instead, so each checkout would compile again.
"""

import functools
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

COMPLETE = "complete"  # an empty file that marks a complete set of kernels; its time is that of their last use
UNUSED_SECONDS = 60 * 24 * 3600  # a folder is deleted after this time without use


def are_compiled() -> bool:
    """Whether all kernels are compiled already; False without numba."""
    try:
        return _complete_folder() is not None
    except (ImportError, OSError):
        return False


@functools.cache
def find_folder() -> Path | None:
    """The folder for kernels, created if it is missing; None if none can be written."""
    if complete := _complete_folder():  # it may be read-only
        return complete
    for parent in _parents():
        folder = parent / _name()
        with suppress(OSError):
            is_new = not folder.exists()
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_safe(parent):
                continue
            folder.mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
            if is_new:
                _delete_unused(parent, folder)
            return folder
    return None


def is_temporary(folder: Path) -> bool:
    """Whether a folder is among the temporary files."""
    return folder.parent == _temporary()


@functools.cache
def _name() -> str:
    from llvmlite import binding

    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    features = binding.get_host_cpu_features().flatten()
    versions = sys.version, version("numba"), version("llvmlite"), binding.get_host_cpu_name(), features
    return f"compiled-{hashlib.sha256(repr((digest.hexdigest(), versions)).encode()).hexdigest()[:16]}"


def _parents() -> Iterator[Path]:
    """The folders that may contain it, the best first."""
    if named := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(named)
        return
    users = os.environ.get("XDG_CACHE_HOME")
    home = Path(os.path.expanduser("~"))
    if users and os.path.isabs(users):
        yield Path(users, "minlm")
    elif home.is_dir():  # a home folder that does not exist is not created
        yield home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "minlm"
    yield _temporary()


def _temporary() -> Path:
    return Path(tempfile.gettempdir(), f"minlm-{os.getuid()}")


def _is_safe(parent: Path) -> bool:
    """Whether no other user can put machine code there: anyone could create a folder among the temporary files."""
    status = parent.lstat()
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
    return ours or parent != _temporary()


def _complete_folder() -> Path | None:
    for parent in _parents():
        folder = parent / _name()
        if os.access(folder / COMPLETE, os.R_OK) and _is_safe(parent):
            return folder
    return None


def _delete_unused(parent: Path, new: Path) -> None:
    """Delete the kernels of other versions that have not been used for `UNUSED_SECONDS`."""
    for folder in parent.glob("compiled-*"):
        marker = folder / COMPLETE
        with suppress(OSError):
            last_use = (marker if marker.exists() else folder).stat().st_mtime
            if folder != new and time.time() - last_use > UNUSED_SECONDS:
                shutil.rmtree(folder.rename(f"{folder}.unused"))
