"""One HTTP connection: what it may ask for, and the answer.

    GET  /  /style.css  /page.js     the page
    POST /write                      a text for the page; the body is a `request.TextRequest` as JSON
    GET  /v1/models                  OpenAI's protocol, see `openai`
    POST /v1/completions  /v1/chat/completions

docs/serve.md describes the answers.
"""

import functools
import json
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from minlm.errors import MinlmError
from minlm.progress import log
from minlm.serve import openai
from minlm.serve.events import Event, write_text
from minlm.serve.queue import Unavailable
from minlm.serve.request import MAX_BODY_BYTES, parse

if TYPE_CHECKING:
    from minlm.serve.server import Server

CLIENT_TIMEOUT_SECONDS = 30  # for a client that neither sends nor receives
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",  # nothing from other hosts
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
EVENTS = "text/event-stream"


class Refused(Exception):
    """A request is refused; the arguments are the HTTP status and the message."""


class Handler(BaseHTTPRequestHandler):
    """One connection with one request: in HTTP/1.0 the answer ends with the connection."""

    server: "Server"
    timeout = CLIENT_TIMEOUT_SECONDS
    disable_nagle_algorithm = True  # each token is sent at once
    path = ""  # until the request line has been read
    status = 0  # of the answer; 0 before it has begun
    note = ""  # for the log

    def do_GET(self) -> None:
        """Send a file of the page, or the list of models."""
        self._answer(self._send_models if self._path == "/v1/models" else self._send_file)

    def do_POST(self) -> None:
        """Write texts."""
        self._answer(self._send_texts)

    @property
    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _answer(self, work: Callable[[], None]) -> None:
        """Do the work, report an error to the client, log one line, and only then leave the queue."""
        with ExitStack() as self.resources:
            try:
                work()
            except Refused as refused:
                self._fail(*refused.args)
            except MinlmError as error:
                self._fail(HTTPStatus.BAD_REQUEST, str(error))
            except Unavailable as error:
                self._fail(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            except OSError:  # only the connection can raise one here
                self.note += ", the client left"
            except Exception:
                log.exception("unexpected error; please report it with these lines")
                message = "something went wrong in the server; see its terminal for details."
                self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, message)
            log.info(f"{self.command} {_printable(self.path)} {int(self.status) or 'unanswered'}{self.note}")

    def _send_file(self) -> None:
        self._check_host()
        if self._path not in self.server.files:
            raise Refused(HTTPStatus.NOT_FOUND, f"there is nothing here; the page is at {self.server.url}")
        self._send(*self.server.files[self._path])

    def _send_models(self) -> None:
        self._check_host()
        self._send("application/json", json.dumps(openai.models()).encode())

    def _send_texts(self) -> None:
        body = self._read_body()  # first: a client that is still sending would not see a refusal
        self._check_host()
        senders: dict[str, Callable[[bytes], None]] = {
            "/write": self._send_events, "/v1/completions": self._send_completion,
            "/v1/chat/completions": functools.partial(self._send_completion, chat=True),
        }  # fmt: skip
        if self._path not in senders:
            raise Refused(HTTPStatus.NOT_FOUND, f"texts are written at {' and '.join(senders)}.")
        if self.headers.get_content_type() != "application/json":  # pages of other origins may not send this type
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the Content-Type must be application/json.")
        senders[self._path](body)

    def _send_events(self, body: bytes) -> None:
        request = parse(body)
        said = request.messages[-1]["content"] if request.messages else request.prompt
        details = f" {_printable(said)!r} temperature {request.temperature} top_p {request.top_p}"
        details += f" max_tokens {request.max_tokens} seed {request.seed}"
        self.note = f"{details}: waited"
        queue = self.server.queue
        self.resources.enter_context(queue.turn(self._send_place, self._check_client))
        started, count = time.perf_counter(), 0
        events = write_text(self.server.shared, self.server.tokenizer, request)
        for event in self.resources.enter_context(closing(events)):
            queue.check_open()
            count += event["type"] == "token"
            self.note = f"{details}: {count} tokens in {time.perf_counter() - started:.2f} s"
            self._send_event(event)

    def _send_completion(self, body: bytes, chat: bool = False) -> None:
        completion = openai.parse(body, self.server.tokenizer, chat)
        details = f" {len(completion.prompts)} prompts × {completion.n}, max_tokens {completion.max_tokens}"
        self.note = f"{details}: waited"
        queue = self.server.queue
        self.resources.enter_context(queue.turn(lambda ahead: None, self._check_client))
        started = time.perf_counter()
        answer = openai.answer(completion, self.server.shared, self.server.tokenizer)
        for part in self.resources.enter_context(closing(answer)):
            queue.check_open()
            self._check_client()
            self.note = f"{details}: {time.perf_counter() - started:.2f} s"
            if part:
                self._send(EVENTS if completion.stream else "application/json", part)

    def _read_body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 10):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "the request must state its Content-Length.")
        if int(length) > MAX_BODY_BYTES:
            self.rfile.read(min(int(length), 10 * MAX_BODY_BYTES))
            message = f"the request is larger than {MAX_BODY_BYTES:,} bytes."
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionError
        return body

    def _check_host(self) -> None:
        """Refuse host names that are not ours: a web page under a foreign name that resolves to this machine could use
        the model (DNS rebinding). Addresses cannot be abused like that.
        """
        host = self.headers.get("Host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
            is_ours = name in ("localhost", self.server.host.lower()) or bool(ip_address(name))
        except ValueError:  # neither a name nor an address
            is_ours = False
        if not is_ours:
            message = f"this server is not {_printable(host)!r}; its page is at {self.server.url}"
            raise Refused(HTTPStatus.FORBIDDEN, message)

    def _send_place(self, ahead: int) -> None:
        self._send_event({"type": "waiting", "in_front": ahead})

    def _check_client(self) -> None:
        readable, _, _ = select.select([self.connection], [], [], 0)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):  # the end: it sends nothing after its request
            raise ConnectionError

    def _send_event(self, event: Event) -> None:
        self._send("application/x-ndjson", json.dumps(event).encode() + b"\n")

    def _send(self, mime_type: str, content: bytes) -> None:
        """Send a part of the answer, after its beginning if it is the first."""
        if not self.status:
            self._begin(HTTPStatus.OK, mime_type)
        self.wfile.write(content)

    def _fail(self, status: HTTPStatus, message: str) -> None:
        """Send an error: as an event if the answer has begun, otherwise as an HTTP status."""
        self.note += f", {message}"
        is_protocol = self._path.startswith("/v1/")
        with suppress(OSError):  # the client left
            if self.status and is_protocol:
                self.wfile.write(openai.event(openai.error(status, message)))
            elif self.status:
                self._send_event({"type": "error", "message": message})
            else:
                self._begin(status, "application/json")
                content = openai.error(status, message) if is_protocol else {"error": message}
                self.wfile.write(json.dumps(content).encode() + b"\n")

    def _begin(self, status: HTTPStatus, mime_type: str) -> None:
        self.status = status
        self.send_response(status)
        for name, value in {"Content-Type": mime_type, **HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Report what the base class refuses, such as an unknown method, like any other error."""
        self._fail(HTTPStatus(code), message or HTTPStatus(code).phrase)
        log.info(f"refused {int(code)}{self.note}")

    def version_string(self) -> str:
        """The value of the Server header, without versions."""
        return "minlm"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Do nothing, because `_answer` logs."""


def _printable(text: str) -> str:
    """The beginning of a client's text, without control characters, which could act on the terminal."""
    short = text if len(text) <= 60 else text[:59] + "…"
    return "".join(character if character.isprintable() else " " for character in short)
