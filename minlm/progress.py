"""Messages and progress of long work: a bar at a terminal, otherwise a plain line every few seconds.

All messages go through the logger `minlm`, which `configure` connects to the console and, on request, to a log file.
The console is stderr. In a job of the workflow, stderr goes to the job's log file, and the console is stdin (see
`JOB_FUNCTION` in minlm/pipeline/rules.py).

Several processes write to one terminal: the jobs and snakemake itself. They do not get into each other's lines because
each of them follows three rules: a message begins with `CLEAR`, which removes a bar that is on the line; a bar has no
line feed and is never wider than the terminal; and only one process shows a bar at a time (`BAR_LOCK`).
"""

import logging
import os
import re
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO

log = logging.getLogger("minlm")

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_BARS = 0.1
SECONDS_BEFORE_FORECAST = 10.0
BAR_WIDTH = 20
CLEAR = "\r\033[K"  # to the beginning of the line, and remove what is on it

# Environment variables that a snakemake sets for its jobs, if it prints one line for each job (pipeline/terminal.py).
SUMMARIES = "MINLM_SUMMARIES"  # any value: the job's last message, or its error, is on that line
BAR_LOCK = "MINLM_BAR_LOCK"  # a file; the job that holds its lock shows the bar

_console: IO[str] | None = None  # None: stderr
_variant = ""  # of the experiment that a job works for; begins what it shows, since several run side by side


def configure(log_file: str | Path | None = None, *, talks: bool = True) -> None:
    """Send messages to the console and, if given, to `log_file`. Creates its folder and replaces an existing log.

    Of the processes of one `torchrun` or `srun`, only the first reports more than errors.

    Args:
        log_file: for all messages.
        talks: in a workflow whose snakemake prints a line for each job, also show messages while the job runs.
    """
    global _console, _variant
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    is_first = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0))) == 0
    log.setLevel(logging.INFO if is_first else logging.ERROR)
    log.propagate = False
    in_job = "MINLM_JOB" in os.environ
    _console = os.fdopen(0, "w", buffering=1, errors="backslashreplace", closefd=False) if in_job else None
    variant = re.search(r"experiments/(.+)/", str(log_file)) if in_job else None
    _variant = f"{variant[1]}: " if variant else ""
    log.addHandler(_Terminal(console(), talks, in_job and SUMMARIES in os.environ))
    if log_file is not None:
        Path(log_file).parent.mkdir(parents=True, exist_ok=True)
        if is_first and not in_job:
            Path(log_file).write_bytes(b"")
        file = logging.FileHandler(log_file, mode="a", encoding="utf-8", errors="backslashreplace")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        log.addHandler(file)


def console() -> IO[str]:
    """The stream for messages and bars."""
    return _console or sys.stderr


def columns(terminal: IO[str]) -> int:
    """The width of a terminal; 80 if it does not know."""
    try:
        return os.get_terminal_size(terminal.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def summarize(message: str) -> None:
    """Log what a program has done. In a workflow, this is what its job's line says."""
    log.info(message, extra={"is_summary": True})


class _Terminal(logging.StreamHandler):
    """Writes messages in place of a progress bar, not into it."""

    def __init__(self, stream: IO[str], talks: bool, has_summaries: bool):
        super().__init__(stream)
        self.has_bars, self.talks, self.has_summaries = stream.isatty(), talks, has_summaries

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what a bar shows and, in a workflow, what snakemake's line for this job will say."""
        if getattr(record, "is_progress", False):
            return not self.has_bars
        if self.has_summaries and record.levelno != logging.WARNING:
            return self.talks and record.levelno < logging.ERROR and not getattr(record, "is_summary", False)
        return True

    def format(self, record: logging.LogRecord) -> str:
        return f"{CLEAR if self.has_bars else ''}{_variant}{super().format(record)}"


def duration(seconds: float) -> str:
    """A time as people say it: "0.4 s", "12 s", "3 min", "1 h 20 min", "2 days"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    return f"{minutes / 60 / 24:.0f} days"


class Progress:
    """The progress of one task.

    Args:
        total: the amount of work in `unit`s; 0 if unknown.
        label: the task, for example "tokenizing train.txt".
        unit: "B" for bytes (shown as MB), otherwise a word in the plural, such as "merges" or "steps".
        initial: the amount done by an earlier, interrupted run.
    """

    def __init__(self, total: int, label: str, unit: str, initial: int = 0):
        self.total, self.label, self.unit = total, label, unit
        self.done = initial
        self.since = self.last_line = self.last_bar = time.monotonic()
        self.done_before = initial  # the amount done at `since`, the time from which the speed is measured
        self.is_measured = self.has_forecast = False
        self.bar = _Bar() if console().isatty() and log.isEnabledFor(logging.INFO) else None

    def set_total(self, total: int) -> None:
        """Set the amount of work when it becomes known."""
        self.total = total

    def update(self, amount: int, note: str = "") -> None:
        """Report that `amount` more is done. A `note`, such as the loss, is shown after the progress."""
        self.done += amount
        now = time.monotonic()
        if not self.is_measured:  # the first step may compile something: measure from its end
            self.is_measured = True
            if now - self.since > 1:
                self.since, self.done_before = now, self.done
        if self.bar and now - self.last_bar >= SECONDS_BETWEEN_BARS:
            self.last_bar = now
            self.bar.draw(f"{self._picture()}{_variant}{self._line(now, note)}")
        if now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            log.info(self._line(now, note), extra={"is_progress": True})
        if not self.has_forecast and now - self.since >= SECONDS_BEFORE_FORECAST:
            self.has_forecast = True
            left = self.seconds_left(now)
            if self.bar and left and left > 60:
                log.info(f"{self.label}: about {duration(left)} to the end, at {self._speed(now)}")

    def seconds_left(self, now: float) -> float | None:
        """The time to the end at the present speed; None if it is not known."""
        rate = self._rate(now)
        return (self.total - self.done) / rate if self.total and rate > 0 else None

    def _rate(self, now: float) -> float:
        return (self.done - self.done_before) / max(now - self.since, 1e-9)

    def _speed(self, now: float) -> str:
        """ "12 MB/s", "3.4 steps/s" or, if slow, "2.5 s/step"."""
        rate = self._rate(now)
        if self.unit == "B":
            return f"{rate / 1e6:,.1f} MB/s"
        if 0 < rate < 1:
            return f"{1 / rate:.1f} s/{self.unit.removesuffix('s')}"
        return f"{rate:,.{0 if rate >= 9.95 else 1}f} {self.unit}/s"

    def _picture(self) -> str:
        if not self.total:
            return ""
        part = min(1.0, self.done / self.total)
        return f"{'━' * round(BAR_WIDTH * part):{BAR_WIDTH}} {part:4.0%} "

    def _line(self, now: float, note: str) -> str:
        scale, unit = (1e6, "MB") if self.unit == "B" else (1, self.unit)
        if not self.total:
            return ", ".join(filter(None, [f"{self.label}: {self.done / scale:,.0f} {unit}", note]))
        left = self.seconds_left(now)
        amount = f"{self.done / scale:,.0f} of {self.total / scale:,.0f} {unit}"
        # A note such as "1,234 tokens/s" already has the speed, unless a step takes seconds.
        speed = "" if left is None or ("/s" in note and self._rate(now) > 1) else self._speed(now)
        time_left = "" if left is None else f"{duration(left)} left"
        return ", ".join(filter(None, [f"{self.label}: {amount}", time_left, note, speed]))

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar:
            self.bar.close()


class _Bar:
    """The terminal's last line, as long as this process has it."""

    def __init__(self) -> None:
        self.lock: IO[str] | None = None

    def draw(self, text: str) -> None:
        """Show the text in place of the last one, if no other process shows a bar."""
        if self._has_line():
            self._write(f"{CLEAR}{text[: columns(console()) - 1]}")

    def close(self) -> None:
        """Remove the bar."""
        if self._has_line():
            self._write(CLEAR)
        if self.lock:
            self.lock.close()
            self.lock = None

    def _has_line(self) -> bool:
        path = os.environ.get(BAR_LOCK)
        if not path or self.lock:
            return True
        try:
            import fcntl

            file = open(path, "a")  # noqa: SIM115 (stays open while locked)
        except (ImportError, OSError):
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another job shows a bar, or the file system has no locks
            file.close()
            return False
        self.lock = file
        return True

    def _write(self, text: str) -> None:
        console().write(text)
        console().flush()
