"""SIGTERM (a cluster wants its machine back) and Ctrl-C, handled after a step instead of within one.

A program that was started with SIGINT ignored, as a script does with `program &`, keeps ignoring it.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """A signal, `signal_number`, has stopped the run; its state is saved."""

    def __init__(self, signal_number: int):
        super().__init__(signal_number)
        self.signal_number = signal_number


class StopSignals:
    """Records signals while its `with` block runs. A second Ctrl-C stops at once, without saving."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.raises = False
        self.old_handlers: dict[signal.Signals, Any] = {}

    def check(self) -> None:
        """Raise `Interrupted` if a signal has arrived."""
        if self.received is not None:
            raise Interrupted(self.received)

    @contextmanager
    def raising(self) -> Iterator[None]:
        """A context for work that can be abandoned anywhere: a signal raises `Interrupted` at once."""
        self.raises = True
        try:
            self.check()
            yield
        finally:
            self.raises = False

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():  # handlers can be set only there
            wanted = [n for n in SIGNALS if n != signal.SIGINT or signal.getsignal(n) != signal.SIG_IGN]
            self.old_handlers = {number: signal.signal(number, self._handle) for number in wanted}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self.old_handlers.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # The terminal sends Ctrl-C to all processes, and torchrun sends it again.
        if number == signal.SIGINT and self.received == signal.SIGINT and "TORCHELASTIC_RUN_ID" not in os.environ:
            raise KeyboardInterrupt
        self.received = self.received or number
        if self.raises:
            self.check()
