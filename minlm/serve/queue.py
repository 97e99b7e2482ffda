"""One at a time: who comes while the model is busy stands in line and is told the place."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

CHECK_SECONDS = 0.25  # how often somebody who waits is asked whether they are still there


class LineFull(Exception):
    """As many as allowed are waiting already."""


class LineClosed(Exception):
    """Nobody is served anymore: the server is stopping."""


class GoneAway(Exception):
    """The client who waits, or is being served, has left."""


class Line:
    """First come, first served.

    Args:
        max_waiting: how many may wait behind the one who is being served.

    Attributes:
        closed: nobody is served anymore; who is being served looks at it between two tokens.
    """

    def __init__(self, max_waiting: int):
        self.max_waiting = max_waiting
        self.closed = False
        self._changed = threading.Condition()
        self._tickets: list[object] = []  # the first is being served

    @contextmanager
    def ticket(self) -> Iterator[object]:
        """A place at the end of the line, held during the block.

        Raises:
            LineFull: see there.
        """
        ticket = object()
        with self._changed:
            if len(self._tickets) > self.max_waiting:
                raise LineFull
            self._tickets.append(ticket)
        try:
            yield ticket
        finally:
            with self._changed:
                self._tickets.remove(ticket)
                self._changed.notify_all()

    def wait(self, ticket: object, tell: Callable[[int], None], is_gone: Callable[[], bool]) -> None:
        """Return when it is the ticket's turn.

        Args:
            ticket: see there.
            tell: called with the number of those in front, each time it changes.
            is_gone: asked now and then.

        Raises:
            LineClosed, GoneAway: see there.
        """
        told = None
        while True:
            with self._changed:
                self._changed.wait_for(partial(self._has_news, ticket, told), CHECK_SECONDS)
                in_front = self._tickets.index(ticket)
            if self.closed:
                raise LineClosed
            if is_gone():
                raise GoneAway
            if in_front == 0:
                return
            if in_front != told:
                tell(in_front)
                told = in_front

    def _has_news(self, ticket: object, told: int | None) -> bool:
        return self.closed or self._tickets.index(ticket) != told

    def close(self, timeout: float) -> None:
        """Serve nobody anymore; wait at most `timeout` seconds until all tickets are back."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._tickets, timeout)
