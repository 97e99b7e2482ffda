"""An HTTP server for the three files of the page and for texts of the model.

    GET  /  /style.css  /page.js     the page
    POST /write                      a text; the body is a `request.TextRequest` as JSON

docs/serve.md describes the answers.
"""

import errno
import json
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit

import jinja2

from minlm.errors import MinlmError
from minlm.progress import log
from minlm.serve.events import Event, write_text
from minlm.serve.queue import RequestQueue, Unavailable
from minlm.serve.request import MAX_BODY_BYTES, MAX_PROMPT_CHARACTERS, RANGES, TextRequest, parse
from minlm.tokenization import BPETokenizer
from minlm.transformer.model import TransformerLM

MAX_WAITING = 8
CLIENT_TIMEOUT_SECONDS = 30  # for a client that neither sends nor receives
STOP_SECONDS = 10  # for the last token when the server stops
PAGE = Path(__file__).parent / "page"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",  # nothing from other hosts
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server(ThreadingMixIn, TCPServer):
    """Listens as soon as it is created, and answers in `serve`: one thread per connection, one text at a time.

    Args:
        host: name or address of this machine; 127.0.0.1 admits only programs on this machine.
        port: port to listen on; 0 takes any free one.

    Raises:
        MinlmError: the port is taken, or the host is not this machine.
    """

    allow_reuse_address = True  # a port that has just been released counts as free
    daemon_threads = True  # an idle connection does not keep the program alive
    request_queue_size = 32

    def __init__(self, host: str, port: int):
        if not 0 <= port <= 65535:
            raise MinlmError(f"--port must be from 0 (any free one) to 65535, not {port}.")
        self.host = host
        self.queue = RequestQueue(MAX_WAITING)
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                advice = f"choose another port, for example --port {port + 1 if 1024 <= port < 65535 else 8001}"
            else:
                advice = "give --host a name or an address of this machine"
            raise MinlmError(f"cannot listen on port {port} of {host}: {error.strerror}; {advice}.") from error

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.server_address[1]

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://[{self.host}]:{self.port}/" if ":" in self.host else f"http://{self.host}:{self.port}/"

    @property
    def is_private(self) -> bool:
        """Whether only programs on this machine can reach it."""
        return ip_address(str(self.server_address[0])).is_loopback

    def serve(self, model: TransformerLM, tokenizer: BPETokenizer, name: str) -> None:
        """Answer requests until Ctrl-C or, from another thread, `shutdown`; then stop the current text.

        `model` and `tokenizer` are a pair that `load.load_with_tokenizer` has checked; the page shows `name`.
        """
        self.model, self.tokenizer = model, tokenizer
        self.files = _page_files(model, name)
        try:
            self.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            pass  # how a server usually ends
        finally:
            self.server_close()
            self.queue.close(STOP_SECONDS)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a connection that failed outside of an answer, usually because the client left."""
        log.debug(f"a connection from {client_address} failed", exc_info=True)


def _page_files(model: TransformerLM, name: str) -> dict[str, tuple[str, bytes]]:
    """Path → MIME type and content. The defaults and ranges on the page are those of `request`."""
    config = model.config
    template = jinja2.Template((PAGE / "index.html").read_text(encoding="utf-8"), autoescape=True)
    page = template.render(
        model=f"{name}: {model.num_parameters():,} parameters in {config['num_layers']} layers, "
        f"a vocabulary of {config['vocab_size']:,} tokens, a context of {config['context_length']:,}",
        default=TextRequest(),
        ranges=RANGES,
        max_prompt_characters=MAX_PROMPT_CHARACTERS,
    )
    return {
        "/": ("text/html; charset=utf-8", page.encode()),
        "/style.css": ("text/css; charset=utf-8", (PAGE / "style.css").read_bytes()),
        "/page.js": ("text/javascript; charset=utf-8", (PAGE / "page.js").read_bytes()),
    }


class _Refused(Exception):
    """A request is refused; the arguments are the HTTP status and the message."""


class _Handler(BaseHTTPRequestHandler):
    """One connection with one request: in HTTP/1.0 the answer ends with the connection."""

    server: Server
    timeout = CLIENT_TIMEOUT_SECONDS
    disable_nagle_algorithm = True  # each token is sent at once
    status = 0  # of the answer; 0 before it has begun
    note = ""  # for the log

    def do_GET(self) -> None:
        """Send the page."""
        self._answer(self._send_file)

    def do_POST(self) -> None:
        """Write a text."""
        self._answer(self._send_text)

    def _answer(self, work: Callable[[], None]) -> None:
        """Do the work, report an error to the client, log one line, and only then leave the queue."""
        with ExitStack() as self.resources:
            try:
                work()
            except _Refused as refused:
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
        path = self.path.partition("?")[0]
        if path not in self.server.files:
            raise _Refused(HTTPStatus.NOT_FOUND, f"there is nothing here; the page is at {self.server.url}")
        mime_type, content = self.server.files[path]
        self._begin(HTTPStatus.OK, mime_type)
        self.wfile.write(content)

    def _send_text(self) -> None:
        body = self._read_body()  # first: a client that is still sending would not see a refusal
        self._check_host()
        if self.path != "/write":
            raise _Refused(HTTPStatus.NOT_FOUND, "texts are written at /write.")
        if self.headers.get_content_type() != "application/json":  # pages of other origins may not send this type
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the Content-Type must be application/json.")
        request = parse(body)
        details = f" {_printable(request.prompt)!r} temperature {request.temperature} top_p {request.top_p}"
        details += f" max_tokens {request.max_tokens} seed {request.seed}"
        self.note = f"{details}: waited"
        queue = self.server.queue
        self.resources.enter_context(queue.turn(self._send_place, self._check_client))
        started, count = time.perf_counter(), 0
        for event in write_text(self.server.model, self.server.tokenizer, request):
            queue.check_open()
            count += event["type"] == "token"
            self.note = f"{details}: {count} tokens in {time.perf_counter() - started:.2f} s"
            self._send_event(event)

    def _read_body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 10):
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "the request must state its Content-Length.")
        if int(length) > MAX_BODY_BYTES:
            self.rfile.read(min(int(length), 10 * MAX_BODY_BYTES))
            message = f"the request is larger than {MAX_BODY_BYTES:,} bytes."
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
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
            raise _Refused(HTTPStatus.FORBIDDEN, message)

    def _send_place(self, ahead: int) -> None:
        self._send_event({"type": "waiting", "in_front": ahead})

    def _check_client(self) -> None:
        readable, _, _ = select.select([self.connection], [], [], 0)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):  # the end: it sends nothing after its request
            raise ConnectionError

    def _send_event(self, event: Event) -> None:
        if not self.status:
            self._begin(HTTPStatus.OK, "application/x-ndjson")
        self.wfile.write(json.dumps(event).encode() + b"\n")

    def _fail(self, status: HTTPStatus, message: str) -> None:
        """Send an error: as an event if the answer has begun, otherwise as an HTTP status."""
        self.note += f", {message}"
        with suppress(OSError):  # the client left
            if self.status:
                self._send_event({"type": "error", "message": message})
            else:
                self._begin(status, "application/json")
                self.wfile.write(json.dumps({"error": message}).encode() + b"\n")

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
