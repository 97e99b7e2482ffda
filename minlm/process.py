"""Identifies processes, and makes the jobs of a workflow end when their snakemake ends.

A process ID alone does not identify a process: after the process ends, another one may get the same ID. `name` adds
the machine and the start time, so that a file with this name in it can be traced to its writer (see `atomic`).
The snakemake that runs the jobs is their owner. It puts its name into an environment variable; each job watches the
owner and stops when it is gone. Without this, the jobs of a killed snakemake would run on beside those of the next.
Standard library only: every call of `snakemake` imports this module.
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

NAME = r"[0-9a-f]{8}-\d{1,9}-\d{1,20}"  # pattern of what `name` returns; without a dot, so it can be part of file names
OWNER = "MINLM_OWNER"  # environment variable with the name of the snakemake that owns a job
POLL_SECONDS = 1.0


def name() -> str:
    """The unique name of this process: MACHINE-PID-START."""
    return f"{_machine()}-{os.getpid()}-{_status(os.getpid())[1]}"


def has_ended(process: str) -> bool | None:
    """Whether the process with this name has ended. None: it is on another machine, so its state is unknown."""
    machine, pid, start = process.split("-")
    if machine != _machine():
        return None
    is_running, started = _status(int(pid))
    return not (is_running and started in (0, int(start)))


def _status(pid: int) -> tuple[bool, int]:
    """Whether a process is running, and its start time in clock ticks since boot (0 on systems other than Linux)."""
    try:
        # After the program's name in parentheses come the state and 18 other fields, then the start time.
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
    """Identifies this machine, or this container: the scope in which process IDs are unique."""
    try:
        pids = os.readlink("/proc/self/ns/pid")
    except OSError:
        pids = ""
    return hashlib.sha256(f"{platform.node()} {pids}".encode()).hexdigest()[:8]


def become_owner() -> None:
    """Make this process the owner of the jobs it starts. (A job on a cluster has a snakemake of its own.)"""
    os.environ[OWNER] = name()


def in_workflow() -> bool:
    """Whether this process is a job of a workflow, not a program started by hand."""
    return OWNER in os.environ


def end_with_owner() -> None:
    """From now on, send SIGTERM to this process when the snakemake or torchrun that started it is gone.

    A program started by hand is not affected.
    """
    if in_workflow() or "TORCHELASTIC_RUN_ID" in os.environ:
        threading.Thread(target=_watch, args=(os.environ.get(OWNER), os.getppid()), daemon=True).start()


def _watch(owner: str | None, parent: int) -> None:
    while os.getppid() == parent and not (owner and has_ended(owner)):
        time.sleep(POLL_SECONDS)
    log.warning("the process that started this one has ended: stopping")
    os.kill(os.getpid(), signal.SIGTERM)
