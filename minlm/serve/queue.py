"""The queue for the model: one request at a time, and those that wait learn their place."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CHECK_SECONDS = 0.25  # between two checks whether a waiting client is still there


class QueueFull(Exception):
    """The maximum number of requests is waiting already."""


class QueueClosed(Exception):
    """The server is stopping and serves no more requests."""


class ClientGone(Exception):
    """The client has closed its connection."""


class RequestQueue:
    """First come, first served.

    Args:
        max_waiting: number of requests that may wait while one is served.

    Attributes:
        closed: the server is stopping; the request that is served checks this between two tokens.
    """

    def __init__(self, max_waiting: int):
        self.max_waiting = max_waiting
        self.closed = False
        self._changed = threading.Condition()
        self._tickets: list[object] = []  # the first one is served

    @contextmanager
    def ticket(self) -> Iterator[object]:
        """A place at the end of the queue, held during the block.

        Raises:
            QueueFull: there is no free place.
        """
        ticket = object()
        with self._changed:
            if len(self._tickets) > self.max_waiting:
                raise QueueFull
            self._tickets.append(ticket)
        try:
            yield ticket
        finally:
            with self._changed:
                self._tickets.remove(ticket)
                self._changed.notify_all()

    def wait(self, ticket: object, report_place: Callable[[int], None], is_gone: Callable[[], bool]) -> None:
        """Return when it is the ticket's turn.

        Args:
            ticket: from `ticket`.
            report_place: called with the number of requests ahead, each time it changes.
            is_gone: called now and then; whether the client has closed its connection.

        Raises:
            QueueClosed: the server is stopping.
            ClientGone: `is_gone` returned True.
        """
        reported = None
        while True:
            with self._changed:
                if not self.closed and self._tickets.index(ticket) == reported:
                    self._changed.wait(CHECK_SECONDS)
                ahead = self._tickets.index(ticket)
            if self.closed:
                raise QueueClosed
            if is_gone():
                raise ClientGone
            if ahead == 0:
                return
            if ahead != reported:
                report_place(ahead)
                reported = ahead

    def close(self, timeout: float) -> None:
        """Serve no more requests, and wait at most `timeout` seconds until all tickets are returned."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._tickets, timeout)
