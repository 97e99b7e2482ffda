"""Messages and progress of long work: a bar at a terminal, otherwise a plain line every few seconds.

All messages go through the logger `minlm`, which `configure` connects to the console and, on request, to a log file.
The console is stderr. In a job of the workflow, stderr goes to the job's log file, and the console is stdin (see
`JOB_FUNCTION` in minlm/pipeline/rules.py).
"""

import logging
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import IO, Any

log = logging.getLogger("minlm")

SECONDS_BETWEEN_LINES = 10.0

_console: IO[str] | None = None  # None: stderr


def configure(log_file: str | Path | None = None) -> None:
    """Send messages to the console and, if given, to `log_file`, which replaces an existing one.

    Of the processes of one `torchrun` or `srun`, only the first logs more than errors.
    """
    global _console
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    is_first = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0))) == 0
    log.setLevel(logging.INFO if is_first else logging.ERROR)
    log.propagate = False
    in_job = "MINLM_JOB" in os.environ
    _console = os.fdopen(0, "w", buffering=1, errors="backslashreplace", closefd=False) if in_job else None
    terminal = _Terminal(console())
    terminal.setFormatter(logging.Formatter("%(message)s"))
    if terminal.has_bars:  # they show the progress, so its lines go only to the log file
        terminal.addFilter(lambda record: not getattr(record, "is_progress", False))
    log.addHandler(terminal)
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


def _tqdm() -> Any:
    """The class tqdm, imported only when it is needed: the import takes 0.05 s."""
    from tqdm import tqdm

    return tqdm


class _Terminal(logging.StreamHandler):
    """Writes messages above a progress bar, not into it."""

    def __init__(self, stream: IO[str]):
        super().__init__(stream)
        self.has_bars = stream.isatty()

    def emit(self, record: logging.LogRecord) -> None:
        with _tqdm().external_write_mode(self.stream) if self.has_bars else nullcontext():
            super().emit(record)


class Progress:
    """The progress of one task.

    Args:
        total: the amount of work in `unit`s; 0 if unknown.
        label: the task, for example "tokenizing train.txt".
        unit: "B" for bytes (shown as MB), otherwise a word such as "merges" or "steps".
        initial: the amount done by an earlier, interrupted run.
    """

    def __init__(self, total: int, label: str, unit: str, initial: int = 0):
        self.total, self.label, self.unit = total, label, unit
        self.done = self.initial = initial
        self.started = self.last_line = time.monotonic()
        self.bar: Any = None
        if console().isatty() and log.isEnabledFor(logging.INFO):
            self.bar = _tqdm()(
                total=total or None, initial=initial, desc=label, unit=unit if unit == "B" else f" {unit}",
                unit_scale=unit == "B", mininterval=0.1, leave=False, dynamic_ncols=True, file=console(),
            )  # fmt: skip

    def set_total(self, total: int) -> None:
        """Set the amount of work when it becomes known."""
        self.total = total
        if self.bar is not None:
            self.bar.total = total

    def update(self, amount: int, note: str = "") -> None:
        """Report that `amount` more is done. A `note`, such as the loss, is shown after the progress."""
        self.done += amount
        if self.bar is not None:
            if note:
                self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(amount)
        now = time.monotonic()
        if now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            log.info(self._line(now, note), extra={"is_progress": True})

    def _line(self, now: float, note: str) -> str:
        rate = (self.done - self.initial) / max(now - self.started, 1e-9)
        scale, unit = (1e6, "MB") if self.unit == "B" else (1, self.unit)
        if not self.total:
            return ", ".join(filter(None, [f"{self.label}: {self.done / scale:,.0f} {unit}", note]))
        left = _tqdm().format_interval((self.total - self.done) / rate) if rate > 0 else "?"
        amount = f"{self.done / scale:,.0f} of {self.total / scale:,.0f} {unit}"
        return ", ".join(filter(None, [f"{self.label}: {amount}", note, f"{left} left"]))

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()
