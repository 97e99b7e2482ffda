"""Polite and patient HTTP: who we are, retries with bounds, and a pause between any two requests."""

import importlib.metadata
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import ConnectTimeoutError, HTTPError, InvalidHeader, MaxRetryError, NewConnectionError
from urllib3.util.retry import Retry

from minlm.errors import MinlmError
from minlm.locks import open_locked
from minlm.progress import log

USER_AGENT = (
    f"minlm/{importlib.metadata.version('minlm')} (trains small language models; reads each file once) python-requests"
)
TIMEOUT = (10.0, 60.0)  # seconds: to connect, and between two pieces of an answer
RETRIES = 6
BACKOFF_SECONDS = 1.0  # doubled with each retry: 0, 2, 4, 8, 16, 32
LONGEST_RETRY_AFTER = 120.0
MAX_REDIRECTS = 10
MAX_BYTES = 16_000_000  # of an answer that is held in memory, unpacked; a catalog page has 0.1
READ_BYTES = 1 << 16  # at a time; a break in a download loses at most this much of what had arrived
ODD_ANSWERS = 3  # how often to ask as long as answers come whole, but with something else in them than they should

BROKEN_OFF = (
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
)


class FetchError(MinlmError):
    """A server gave no usable answer, however often it was asked."""


class UnreachableError(MinlmError):
    """No connection to the server at all: the network, not this address, is at fault."""


@dataclass
class Received:
    """A whole answer: its headers, and its body unpacked."""

    headers: Mapping[str, str]
    content: bytes


class Pace:
    """At most one request per `delay` seconds, in all processes that name the same file together.

    Args:
        path: a small file that holds the time of the last request; None paces this process alone.
        delay: seconds from one request to the next.
    """

    def __init__(self, delay: float, path: str | Path | None = None):
        self.delay = delay
        self.path = Path(path) if path is not None else None
        self.last = 0.0

    def wait(self) -> None:
        """Return when the next request may be sent."""
        if self.path is None:
            self.last = self._sleep_after(self.last)
            return
        with open_locked(self.path, "a+") as file:  # the others queue here while one sleeps
            file.seek(0)
            try:
                last = float(file.read(100))
            except ValueError:  # empty, or damaged
                last = 0.0
            now = self._sleep_after(last)
            file.truncate(0)
            file.write(repr(now))

    def _sleep_after(self, last: float) -> float:
        passed = time.time() - last
        if 0 <= passed < self.delay:  # negative: the clock was set back
            time.sleep(self.delay - passed)
        return time.time()


def make_session(pace: Pace | None = None) -> requests.Session:
    """A session that retries 429, 5xx, resets and timeouts, and waits for `pace` before each request it sends."""
    wait = pace.wait if pace is not None else lambda: None
    retry = _PacedRetry(
        total=RETRIES,
        backoff_factor=BACKOFF_SECONDS,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET",),
        raise_on_status=False,
    )
    retry.wait = wait
    session = requests.Session()
    session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "gzip, deflate"})
    session.max_redirects = MAX_REDIRECTS
    for scheme in ("http://", "https://"):
        session.mount(scheme, _PacedAdapter(wait, max_retries=retry))
    return session


def get(session: requests.Session, url: str, headers: Mapping[str, str] | None = None) -> requests.Response:
    """GET one answer of status 2xx or 416 (a range behind the end); its body is still to be read, with `read_body`.

    Raises:
        UnreachableError: no connection could be made.
        FetchError: no answer, or one of another status, that outlasted the retries.
    """
    try:
        response = session.get(url, timeout=TIMEOUT, stream=True, headers=headers)
    except (requests.exceptions.RequestException, HTTPError, ValueError) as error:  # ValueError: of odd redirects
        cause = error.args[0] if error.args else error
        reason = cause.reason if isinstance(cause, MaxRetryError) else error
        if isinstance(reason, (NewConnectionError, ConnectTimeoutError)):
            raise UnreachableError(
                f"cannot reach the server of {url} ({reason}); check the network and the address"
            ) from error
        raise FetchError(f"{url}: no answer ({reason})") from error
    if response.ok or response.status_code == 416:
        return response
    response.close()
    raise FetchError(f"{url}: the server answers {response.status_code} {response.reason}")


def read_body(response: requests.Response) -> Iterator[bytes]:
    """Yield the body of an answer, unpacked, in pieces of at most about `READ_BYTES`.

    Raises:
        FetchError: it is packed in a way that was not asked for, or cannot be unpacked.
        One of BROKEN_OFF: the body broke off, which is the caller's to retry.
    """
    encoding = response.headers.get("Content-Encoding", "").lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):  # several, or one that unpacks without bounds
        raise FetchError(f"{response.url}: the server sent it packed as {encoding!r}, which was not asked for")
    try:
        yield from response.iter_content(READ_BYTES)
    except BROKEN_OFF:
        raise
    except requests.exceptions.RequestException as error:
        raise FetchError(f"{response.url}: the answer cannot be unpacked ({error})") from error


def fetch(session: requests.Session, url: str, max_bytes: int = MAX_BYTES) -> Received:
    """GET one answer with its whole body in memory; a body that breaks off is asked for again.

    Raises:
        UnreachableError, FetchError: as in `get` and `read_body`, or the body is longer than `max_bytes`, unpacked.
    """
    for attempt in range(1, RETRIES + 1):
        try:
            with get(session, url) as response:
                body = bytearray()
                for piece in read_body(response):
                    body += piece
                    if len(body) > max_bytes:
                        raise FetchError(
                            f"{url}: the answer is longer than {max_bytes / 1e6:,.0f} MB, the most that is taken"
                        )
                return Received(response.headers, bytes(body))
        except BROKEN_OFF as error:
            if attempt == RETRIES:
                raise FetchError(f"{url}: {describe_break(error)}, {RETRIES} times in a row") from error
            log.info(f"{url}: {describe_break(error)}; asking again")
            time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
    raise AssertionError("RETRIES is at least 1")


def is_web_page(headers: Mapping[str, str], start: bytes) -> bool:
    """Whether an answer that begins with the bytes `start` is HTML, as a network's log-in page is."""
    content_type = headers.get("Content-Type", "").lower()
    return content_type.startswith(("text/html", "application/xhtml")) or start.lstrip().lower().startswith(
        (b"<!doctype html", b"<html")
    )


def describe_break(error: Exception) -> str:
    """What went wrong in the middle of an answer, in a few words."""
    if isinstance(error, requests.exceptions.Timeout):
        return "the answer timed out"
    return "the answer broke off"


class _PacedRetry(Retry):
    """urllib3's retry policy, but no wait is endless and each retry waits its turn like any request."""

    wait: Callable[[], None]

    def new(self, **changes: Any) -> "_PacedRetry":
        retry = super().new(**changes)
        retry.wait = self.wait
        return retry

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        try:
            seconds = super().get_retry_after(response)
        except InvalidHeader:
            seconds = None
        return None if seconds is None else min(seconds, LONGEST_RETRY_AFTER)

    def increment(self, *arguments: Any, **options: Any) -> "_PacedRetry":
        if (response := options.get("response")) is not None:
            response.close()  # or urllib3 would read the whole body of an answer that nobody wants
        return super().increment(*arguments, **options)

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        status = f"answer {response.status}" if response is not None else "no answer"
        log.info(f"{status}; trying again ({self.total} tries left)")
        super().sleep(response)
        self.wait()


class _PacedAdapter(HTTPAdapter):
    """Waits before each request; redirects come through here one by one."""

    def __init__(self, wait: Callable[[], None], **options: Any):
        self.wait = wait
        super().__init__(**options)

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        self.wait()
        response = super().send(*arguments, **options)
        if response.is_redirect:
            response.close()  # or requests would read the whole body of a redirect into memory
        return response
