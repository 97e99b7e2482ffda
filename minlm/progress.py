"""What long work shows: a bar at a terminal, a plain line now and then everywhere else.

All messages go through the logger `minlm`. `configure()` sends them to the console and, when asked, to a log file.
The console is stderr; in a job of the workflow, whose stderr is copied to the log file, it is stdin (`JOB_FUNCTION` in
minlm/pipeline/rules.py).
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

_console: IO[str] | None = None  # of a job


def configure(log_file: str | Path | None = None) -> None:
    """Send messages to the console and, if given, to `log_file` (its folder is created, an old log is replaced).

    Of several processes that work together (`torchrun`, `srun`) only the first one has more to say than errors.
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
    if terminal.has_bars:  # they show the progress
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
    """Where messages and bars are shown."""
    return _console or sys.stderr


def _tqdm() -> Any:
    """The class of bars; importing it takes 0.05 s, which work without a terminal need not wait for."""
    from tqdm import tqdm

    return tqdm


class _Terminal(logging.StreamHandler):
    """Writes messages above a bar that is being drawn, not into it."""

    def __init__(self, stream: IO[str]):
        super().__init__(stream)
        self.has_bars = stream.isatty()

    def emit(self, record: logging.LogRecord) -> None:
        with _tqdm().external_write_mode(self.stream) if self.has_bars else nullcontext():
            super().emit(record)


class Progress:
    """Progress of one piece of work.

    Args:
        total: how much work there is, in `unit`s; 0 if that is not known (yet).
        label: what is being done, for example "tokenizing train.txt".
        unit: "B" for bytes (shown as MB), otherwise a plain word such as "merges" or "steps".
        initial: work done by an earlier, interrupted run.
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

    def expect(self, total: int) -> None:
        """Now it is known how much work there is."""
        self.total = total
        if self.bar is not None:
            self.bar.total = total

    def update(self, amount: int, note: str = "") -> None:
        """Report `amount` more work done; `note` (for example the loss) is shown behind it."""
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
