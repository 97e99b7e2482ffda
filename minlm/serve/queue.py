"""The queue for the model: a few requests at a time, and those that wait learn their place."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CHECK_SECONDS = 0.25  # between two checks whether a waiting client is still there


class Unavailable(Exception):
    """A request cannot be served now; the message says why."""


class RequestQueue:
    """First come, first served.

    Args:
        max_served: number of requests that are served at the same time.
        max_waiting: number of requests that may wait.

    Attributes:
        closed: whether the server is stopping; the request that is being served checks this after each token.
    """

    def __init__(self, max_served: int, max_waiting: int):
        self.max_served, self.max_waiting = max_served, max_waiting
        self.closed = False
        self._changed = threading.Condition()
        self._tickets: list[object] = []  # the first ones are served

    @contextmanager
    def turn(self, report_place: Callable[[int], None], check_client: Callable[[], None]) -> Iterator[None]:
        """Wait until this request is among the first, then run the block.

        Args:
            report_place: called with the number of requests that must end first, each time it changes.
            check_client: called now and then; may raise an error to leave the queue.

        Raises:
            Unavailable: there is no free place, or the server is stopping.
        """
        ticket = object()
        with self._changed:
            if len(self._tickets) >= self.max_served + self.max_waiting:
                raise Unavailable(f"{self.max_waiting} others are waiting already; try again later.")
            self._tickets.append(ticket)
        try:
            self._wait(ticket, report_place, check_client)
            yield
        finally:
            with self._changed:
                self._tickets.remove(ticket)
                self._changed.notify_all()

    def _wait(self, ticket: object, report_place: Callable[[int], None], check_client: Callable[[], None]) -> None:
        reported = 0
        while True:
            with self._changed:
                if not self.closed and self._ahead(ticket) == reported > 0:
                    self._changed.wait(CHECK_SECONDS)
                ahead = self._ahead(ticket)
            self.check_open()
            check_client()
            if ahead == 0:
                return
            if ahead != reported:
                report_place(ahead)
                reported = ahead

    def _ahead(self, ticket: object) -> int:
        return max(0, self._tickets.index(ticket) - self.max_served + 1)

    def check_open(self) -> None:
        """Raise `Unavailable` if the server is stopping."""
        if self.closed:
            raise Unavailable("the server is stopping.")

    def close(self, timeout: float) -> None:
        """Serve no more requests, and wait at most `timeout` seconds for the end of those in the queue."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._tickets, timeout)
