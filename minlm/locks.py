"""File locks of the operating system. A lock ends with the process that holds it, even if that is killed."""

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

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # from some NFS and Lustre mounts

_warned = False


def check_system() -> None:
    """Raise `MinlmError` on native Windows, where minlm does not run."""
    if fcntl is None:
        raise MinlmError("minlm runs on Linux, on macOS and in WSL, not on native Windows. Start it in WSL.")


def open_locked(path: str | Path, mode: str, *, busy: str = "", wait: bool = True) -> IO[Any]:
    """Open a file and lock it until it is closed. A missing file is created with its folder.

    Args:
        path: the file.
        mode: as in `open`. It must allow writing, or NFS refuses the lock.
        busy: what to log, or to raise, if another process holds the lock.
        wait: wait for that process instead of raising an error.

    Raises:
        MinlmError: another process holds the lock, and `wait` is False.
        OSError: the file cannot be opened.
    """
    check_system()
    path = Path(path)
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, mode)  # noqa: SIM115 (stays open while locked)
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
        file.close()  # the previous holder removed or renamed it: open the new one


def _lock(file: IO[Any], operation: int) -> bool:
    """Try to lock a file. Returns False if another process holds it, True where the file system has no locks."""
    global _warned
    try:
        fcntl.flock(file, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        if not _warned:
            _warned = True
            log.warning(
                f"{file.name} cannot be locked ({error.strerror}); continuing without a lock. "
                "Do not start the same work twice."
            )
    return True
