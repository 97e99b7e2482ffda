"""Locks of the operating system: they go with the process that holds them, however it ends."""

import errno
import os
from pathlib import Path
from typing import IO, Any

from minlm.errors import MinlmError
from minlm.progress import log

try:
    import fcntl
except ImportError:  # native Windows
    fcntl = None  # type: ignore[assignment]

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # some mounts of NFS and Lustre

_warned = False


def check_system() -> None:
    """Make sure that this is a system for minlm.

    Raises:
        MinlmError: it is native Windows.
    """
    if fcntl is None:
        raise MinlmError("minlm runs on Linux, on macOS and in WSL, not on native Windows. Start it in WSL.")


def open_locked(path: str | Path, mode: str, *, busy: str = "", wait: bool = True) -> IO[Any]:
    """Open a file, made with its folder if it is not there, and hold its lock until it is closed.

    Args:
        mode: as in `open`; must write, or NFS refuses the lock.
        busy: what to say, once, while another process holds the lock.
        wait: for that process, or fail.

    Raises:
        MinlmError: another process holds the lock, and `wait` is false.
        OSError: the file cannot be opened.
    """
    check_system()
    path = Path(path)
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, mode)  # noqa: SIM115 (open as long as it is locked)
        try:
            if not _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                if not wait:
                    raise MinlmError(busy)
                if busy:
                    log.info(f"waiting: {busy}")
                    busy = ""
                _lock(file, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # who held it has removed or renamed this very file: once more


def _lock(file: IO[Any], how: int) -> bool:
    """Whether we have the lock, or need none because the file system has none."""
    global _warned
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        if not _warned:
            _warned = True
            log.warning(
                f"{file.name} cannot be locked ({error.strerror}): going on without. Do not start the same work twice."
            )
    return True
