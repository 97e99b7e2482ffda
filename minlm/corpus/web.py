"""HTTP requests that identify themselves, keep a minimum interval, and are retried within limits."""

import importlib.metadata
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

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
TIMEOUT = (10.0, 60.0)  # seconds: to connect, and between two reads of an answer
RETRIES = 6
BACKOFF_SECONDS = 1.0  # the waits before the retries are 0, 2, 4, 8, 16 and 32 times this
LONGEST_RETRY_AFTER = 120.0
MAX_REDIRECTS = 10
MAX_BYTES = 16_000_000  # of an answer held in memory, decompressed; a catalog page has 0.1 MB
READ_BYTES = 1 << 16  # per read; a broken connection loses at most this much of the data received
UNEXPECTED_ANSWERS = 3  # requests of one address that gives complete answers with unexpected content
PACE_FILE = ".last_request"  # beside the catalog and the selection

Parsed = TypeVar("Parsed")

BROKEN_OFF = (
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
)


class FetchError(MinlmError):
    """A server gave no usable answer, retries included."""


class UnreachableError(MinlmError):
    """No connection to the server: the cause is the network, not this one address."""


class UnexpectedAnswer(ValueError):
    """The content of an answer is not what was requested."""


@dataclass
class Answer:
    """A complete answer. `content` is its body, decompressed."""

    url: str
    headers: Mapping[str, str]
    content: bytes


class Pace:
    """Allows one request per `delay` seconds, over all processes that use the same file.

    Args:
        delay: seconds between two requests.
        path: a file that holds the time of the last request.
    """

    def __init__(self, delay: float, path: str | Path):
        self.delay, self.path = delay, Path(path)

    def wait(self) -> None:
        """Wait until the next request may be sent."""
        with open_locked(self.path, "a+") as file:  # other processes wait here
            file.seek(0)
            try:
                last = float(file.read(100))
            except ValueError:  # empty, or damaged
                last = 0.0
            passed = time.time() - last
            if 0 <= passed < self.delay:  # negative: the clock was set back
                time.sleep(self.delay - passed)
            file.truncate(0)
            file.write(repr(time.time()))


def make_session(pace: Pace | None = None) -> requests.Session:
    """Make a session that retries after 429, 5xx, resets and timeouts, and waits for `pace` before each request."""
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
    """GET an answer with status 2xx or 416 (range not satisfiable). Read its body with `read_body`.

    Raises:
        UnreachableError: no connection could be made.
        FetchError: no answer, or one with another status, retries included.
    """
    try:
        response = session.get(url, timeout=TIMEOUT, stream=True, headers=headers)
    except (requests.exceptions.RequestException, HTTPError, ValueError) as error:  # ValueError: from odd redirects
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
    """Yield the body of an answer, decompressed, in pieces of about `READ_BYTES` at most.

    Raises:
        FetchError: the body has a compression that was not requested, or cannot be decompressed.
        One of BROKEN_OFF: the connection broke; the caller may retry.
    """
    encoding = response.headers.get("Content-Encoding", "").lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):  # several, or one that expands without limit
        raise FetchError(f"{response.url}: the server sent it compressed as {encoding!r}, which was not requested")
    try:
        yield from response.iter_content(READ_BYTES)
    except BROKEN_OFF:
        raise
    except requests.exceptions.RequestException as error:
        raise FetchError(f"{response.url}: the answer cannot be decompressed ({error})") from error


def fetch(session: requests.Session, url: str, max_bytes: int = MAX_BYTES) -> Answer:
    """GET a complete answer. If the connection breaks, the request is repeated.

    Raises:
        UnreachableError, FetchError: see `get` and `read_body`; or the decompressed body exceeds `max_bytes`.
    """
    for attempt in range(1, RETRIES + 1):
        try:
            with get(session, url) as response:
                body = bytearray()
                for piece in read_body(response):
                    body += piece
                    if len(body) > max_bytes:
                        raise FetchError(
                            f"{url}: the answer is longer than {max_bytes / 1e6:,.0f} MB, the limit for it"
                        )
                return Answer(url, response.headers, bytes(body))
        except BROKEN_OFF as error:
            if attempt == RETRIES:
                raise FetchError(f"{url}: {describe_break(error)}, {RETRIES} times in a row") from error
            log.info(f"{url}: {describe_break(error)}; trying again")
            time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
    raise AssertionError("RETRIES is at least 1")


def fetch_parsed(
    session: requests.Session, url: str, parse: Callable[[Answer], Parsed], max_bytes: int = MAX_BYTES
) -> Parsed:
    """GET an answer and parse it. If `parse` raises UnexpectedAnswer, the request is repeated.

    Raises:
        UnreachableError, FetchError: see `fetch`; or the answer stayed unexpected.
    """
    for attempt in range(1, UNEXPECTED_ANSWERS + 1):
        answer = fetch(session, url, max_bytes)
        try:
            return parse(answer)
        except UnexpectedAnswer as error:
            if attempt == UNEXPECTED_ANSWERS:
                raise FetchError(str(error)) from error
            log.info(f"{error}; trying again")
            time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
    raise AssertionError("UNEXPECTED_ANSWERS is at least 1")


def is_web_page(headers: Mapping[str, str], start: bytes) -> bool:
    """Whether an answer whose body begins with `start` is HTML, such as the log-in page of a network."""
    content_type = headers.get("Content-Type", "").lower()
    return content_type.startswith(("text/html", "application/xhtml")) or start.lstrip().lower().startswith(
        (b"<!doctype html", b"<html")
    )


def describe_break(error: Exception) -> str:
    """Describe one of BROKEN_OFF in a few words."""
    return "the answer timed out" if isinstance(error, requests.exceptions.Timeout) else "the answer broke off"


class _PacedRetry(Retry):
    """The retry policy of urllib3, with a limit for Retry-After. Each retry is paced like any request."""

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
            response.close()  # otherwise urllib3 reads the whole body of the failed answer
        return super().increment(*arguments, **options)

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        status = f"answer {response.status}" if response is not None else "no answer"
        log.info(f"{status}; trying again ({self.total} retries left)")
        super().sleep(response)
        self.wait()


class _PacedAdapter(HTTPAdapter):
    """Waits before each request. `send` is called for each redirect too."""

    def __init__(self, wait: Callable[[], None], **options: Any):
        self.wait = wait
        super().__init__(**options)

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        self.wait()
        response = super().send(*arguments, **options)
        if response.is_redirect:
            response.close()  # otherwise requests reads the whole body of the redirect into memory
        return response
