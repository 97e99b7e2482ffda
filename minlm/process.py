"""Which process is which: a name that outlives the process, and jobs that end with the snakemake that started them.

Standard library only: every call of `snakemake` imports this.
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

NAME = r"[0-9a-f]{8}-\d{1,9}-\d{1,20}"  # what `name` returns: no dot in it, so a file's name can end with it
HEAD = "MINLM_HEAD"  # the variable with the name of the snakemake that started a job
POLL_SECONDS = 1.0


def name() -> str:
    """MACHINE-PID-START of this process. Another one may get its PID, but not its name."""
    return f"{_machine()}-{os.getpid()}-{_look(os.getpid())[1]}"


def has_ended(process: str) -> bool | None:
    """Whether the process of that name is gone; None for one on another machine, which cannot be seen from here."""
    machine, pid, start = process.split("-")
    if machine != _machine():
        return None
    runs, started = _look(int(pid))
    return not (runs and started in (0, int(start)))


def _look(pid: int) -> tuple[bool, int]:
    """Whether a process runs, and when it began, in ticks since the machine did; 0 where only Linux knows that."""
    try:
        # after the name of the program in brackets: state, …, and as number 20 the start
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return fields[0] not in (b"Z", b"X"), int(fields[19])
    except (OSError, IndexError):
        pass  # it is gone, or this is no Linux
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False, 0
    except PermissionError:
        pass  # another user's
    return True, 0


@functools.cache
def _machine() -> str:
    """Stands for this machine, or this container: where the PIDs are those that we see."""
    try:
        pids = os.readlink("/proc/self/ns/pid")
    except OSError:
        pids = ""
    return hashlib.sha256(f"{platform.node()} {pids}".encode()).hexdigest()[:8]


def become_head() -> None:
    """What this process starts ends with it (see `end_with_head`). On a cluster a job has a snakemake of its own."""
    os.environ[HEAD] = name()


def in_workflow() -> bool:
    """Whether this is a job of a workflow, not a program started by hand."""
    return HEAD in os.environ


def end_with_head() -> None:
    """From now on, send SIGTERM to this process when the snakemake (or torchrun) that started it is gone.

    A killed snakemake takes nobody with it by itself: its jobs would work on beside those of the next call. What was
    started by hand lives on.
    """
    if in_workflow() or "TORCHELASTIC_RUN_ID" in os.environ:
        threading.Thread(target=_watch, args=(os.environ.get(HEAD), os.getppid()), daemon=True).start()


def _watch(head: str | None, parent: int) -> None:
    while os.getppid() == parent and not (head and has_ended(head)):
        time.sleep(POLL_SECONDS)
    log.warning("the process that started this one has ended: stopping")
    os.kill(os.getpid(), signal.SIGTERM)
