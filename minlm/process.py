"""Names for processes, and jobs of a workflow that end with their snakemake.

Process IDs are reused, so `name` adds the machine and the start time. A file with this name in it can be traced to its
writer (see `atomic`).
The snakemake that starts a job is the job's owner. It puts its name into an environment variable; each job watches its
owner and stops when the owner is gone. Otherwise, the jobs of a killed snakemake would run beside those of the next.
Every call of `snakemake` imports this module, so it uses only the standard library.
"""

import functools
import hashlib
import os
import platform
import signal
import threading
import time
from pathlib import Path

from minlm.progress import log

NAME = r"[0-9a-f]{8}-\d{1,9}-\d{1,20}"  # pattern of what `name` returns; it has no dot and can be part of a file name
OWNER = "MINLM_OWNER"  # environment variable with the name of the snakemake that owns a job
POLL_SECONDS = 1.0


def name() -> str:
    """The unique name of this process: MACHINE-PID-START."""
    return f"{_machine()}-{os.getpid()}-{_status(os.getpid())[1]}"


def has_ended(process: str) -> bool | None:
    """Whether the process with this name has ended; None if that is unknown, because it is on another machine."""
    machine, pid, start = process.split("-")
    if machine != _machine():
        return None
    is_running, started = _status(int(pid))
    return not (is_running and started in (0, int(start)))


def _status(pid: int) -> tuple[bool, int]:
    """Whether a process is running, and its start time in clock ticks since boot (0 on systems other than Linux)."""
    try:
        # The program's name in parentheses is followed by the state, 18 other fields and the start time.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return fields[0] not in (b"Z", b"X"), int(fields[19])
    except (OSError, IndexError):
        pass  # the process has ended, or this is not Linux
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False, 0
    except PermissionError:
        pass  # it runs as another user
    return True, 0


@functools.cache
def _machine() -> str:
    """A hash for this machine or container, in which process IDs are unique."""
    try:
        pids = os.readlink("/proc/self/ns/pid")
    except OSError:
        pids = ""
    return hashlib.sha256(f"{platform.node()} {pids}".encode()).hexdigest()[:8]


def become_owner() -> None:
    """Make this process the owner of the jobs it starts. (A job on a cluster has a snakemake of its own.)"""
    os.environ[OWNER] = name()


def in_workflow() -> bool:
    """Whether this process is a job of a workflow rather than a program started by hand."""
    return OWNER in os.environ


def end_with_owner() -> None:
    """Send SIGTERM to this process as soon as the snakemake or torchrun that started it is gone, if there is one."""
    if in_workflow() or "TORCHELASTIC_RUN_ID" in os.environ:
        threading.Thread(target=_watch, args=(os.environ.get(OWNER), os.getppid()), daemon=True).start()


def _watch(owner: str | None, parent: int) -> None:
    while os.getppid() == parent and not (owner and has_ended(owner)):
        time.sleep(POLL_SECONDS)
    log.warning("the process that started this one has ended: stopping")
    os.kill(os.getpid(), signal.SIGTERM)
