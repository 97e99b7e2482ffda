"""HTTP around the model: the three files of a page, and one address that writes texts.

    GET  /  /style.css  /page.js     the page
    POST /write                      asks for a text: the values of `request.TextRequest` as JSON

The answer to the latter has a JSON object in each line: the events of `events.write_text`, before them perhaps
{"type": "waiting", "in_front": 2}, and {"type": "error", "message": …} if something goes wrong midway. What is refused
from the start has an HTTP status of its own and {"error": message}.
"""

import errno
import json
import select
import socket
import string
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

from minlm.errors import MinlmError
from minlm.progress import log
from minlm.reports import html as pages
from minlm.serve import request as limits
from minlm.serve.events import Event, write_text
from minlm.serve.queue import GoneAway, Line, LineClosed, LineFull
from minlm.serve.request import TextRequest, parse
from minlm.tokenization import BPETokenizer
from minlm.transformer.model import TransformerLM

MAX_WAITING = 8
PATIENCE_SECONDS = 30  # with a client that neither sends nor takes anything
STOP_SECONDS = 10  # for the token that is being computed when the server stops
PAGE = Path(__file__).parent / "page"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",  # nothing from anywhere else
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server(ThreadingMixIn, TCPServer):
    """Listens from the start, answers in `serve`: a thread for each connection, one text at a time.

    Args:
        host: name or address of this machine to listen at; 127.0.0.1 is for programs on this machine alone.
        port: 0 takes any free one.

    Raises:
        MinlmError: the port is taken, or the host is not this machine.
    """

    allow_reuse_address = True  # a port that was just let go is free
    daemon_threads = True  # a connection that sends nothing does not keep the program from ending
    request_queue_size = 32

    def __init__(self, host: str, port: int):
        if not 0 <= port <= 65535:
            raise MinlmError(f"--port must be from 0 (any free one) to 65535, not {port}.")
        self.host = host
        self.line = Line(MAX_WAITING)
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                advice = f"choose another port, for example --port {port + 1 if 1024 <= port < 65535 else 8001}"
            else:
                advice = "give --host a name or an address of this machine"
            raise MinlmError(f"cannot listen at port {port} of {host}: {error.strerror}; {advice}.") from error

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server_address[1]

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://[{self.host}]:{self.port}/" if ":" in self.host else f"http://{self.host}:{self.port}/"

    @property
    def is_private(self) -> bool:
        """Whether only programs on this machine can reach it."""
        return ip_address(str(self.server_address[0])).is_loopback

    def serve(self, model: TransformerLM, tokenizer: BPETokenizer, name: str) -> None:
        """Answer until Ctrl-C (or `shutdown` in another thread); then stop the text that is being written.

        Args:
            model, tokenizer: that belong together, see `loading.load_with_tokenizer`.
            name: of the model, for the page.
        """
        self.model, self.tokenizer = model, tokenizer
        self.files = _page_files(model, name)
        try:
            self.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            pass  # the usual end
        finally:
            self.server_close()
            self.line.close(STOP_SECONDS)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection failed outside of an answer, mostly because the client has left."""
        log.debug(f"a connection from {client_address} failed", exc_info=True)


def _page_files(model: TransformerLM, name: str) -> dict[str, tuple[str, bytes]]:
    """Path → MIME type and content. The page learns its defaults and limits from `request`."""
    config, default = model.config, TextRequest()
    values = {
        "model": pages.text(
            f"{name}: {model.num_parameters():,} parameters in {config['num_layers']} layers, "
            f"a vocabulary of {config['vocab_size']:,} tokens, a context of {config['context_length']:,}"
        ),
        "temperature": default.temperature,
        "top_p": default.top_p,
        "max_tokens": default.max_tokens,
        "prompt_limit": limits.MAX_PROMPT_CHARACTERS,
        "temperature_limit": limits.MAX_TEMPERATURE,
        "max_tokens_limit": limits.MAX_NEW_TOKENS,
        "seed_limit": limits.MAX_SEED,
    }
    page = string.Template((PAGE / "index.html").read_text(encoding="utf-8")).substitute(values)
    style = pages.STYLE + (PAGE / "style.css").read_text(encoding="utf-8")
    return {
        "/": ("text/html; charset=utf-8", page.encode()),
        "/style.css": ("text/css; charset=utf-8", style.encode()),
        "/page.js": ("text/javascript; charset=utf-8", (PAGE / "page.js").read_bytes()),
    }


class _Refused(Exception):
    """Neither a text nor a page for this request; the arguments are the HTTP status and a sentence."""


class _Handler(BaseHTTPRequestHandler):
    """One connection with one request: in HTTP/1.0 the end of the connection is the end of the answer."""

    server: Server
    timeout = PATIENCE_SECONDS
    disable_nagle_algorithm = True  # each token goes out at once
    status = 0  # of the answer; 0 until that has begun
    note = ""  # for the log

    def do_GET(self) -> None:
        """Send the page."""
        self._answer(self._send_file)

    def do_POST(self) -> None:
        """Write a text."""
        self._answer(self._send_text)

    def _answer(self, work: Callable[[], None]) -> None:
        """Do the work; tell the client what went wrong; log one line; give the ticket back, if one was taken."""
        with ExitStack() as self.at_the_end:
            self._try(work)
            log.info(f"{self.command} {_printable(self.path)} {int(self.status) or 'unanswered'}{self.note}")

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except _Refused as refused:
            self._fail(*refused.args)
        except MinlmError as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        except LineFull:
            self._fail(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_WAITING} others are waiting already; try again later.")
        except LineClosed:
            self._fail(HTTPStatus.SERVICE_UNAVAILABLE, "the server is stopping.")
        except (GoneAway, OSError):  # all that can fail so here is the connection
            self.note += ", the client left"
        except Exception:
            log.exception("unexpected error; please report it with these lines")
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong in the server; its terminal says what.")

    def _send_file(self) -> None:
        self._check_host()
        path = self.path.partition("?")[0]
        if path not in self.server.files:
            raise _Refused(HTTPStatus.NOT_FOUND, f"there is nothing here; the page is {self.server.url}")
        mime_type, content = self.server.files[path]
        self._begin(HTTPStatus.OK, mime_type)
        self.wfile.write(content)

    def _send_text(self) -> None:
        body = self._read_body()  # before any refusal, or a client that is still sending would not see it
        self._check_host()
        if self.path != "/write":
            raise _Refused(HTTPStatus.NOT_FOUND, "texts are written at /write.")
        if self.headers.get_content_type() != "application/json":  # which other web pages may not send here
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the Content-Type must be application/json.")
        request = parse(body)
        asked = f" {_printable(request.prompt)!r} temperature {request.temperature} top_p {request.top_p}"
        asked += f" max_tokens {request.max_tokens} seed {request.seed}"
        self.note = f"{asked}: waited"
        line = self.server.line
        ticket = self.at_the_end.enter_context(line.ticket())
        line.wait(ticket, self._tell_place, self._is_gone)
        started, count = time.perf_counter(), 0
        for event in write_text(self.server.model, self.server.tokenizer, request):
            if line.closed:
                raise LineClosed
            count += event["type"] == "token"
            self.note = f"{asked}: {count} tokens in {time.perf_counter() - started:.2f} s"
            self._send_event(event)

    def _read_body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 10):
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "the request must say its Content-Length.")
        if int(length) > limits.MAX_BODY_BYTES:
            self.rfile.read(min(int(length), 10 * limits.MAX_BODY_BYTES))
            message = f"the request is larger than {limits.MAX_BODY_BYTES:,} bytes."
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise GoneAway
        return body

    def _check_host(self) -> None:
        """Refuse a name that is not ours: a foreign one that resolves to this machine (DNS rebinding) would let its web
        page in. An address resolves to nothing else.
        """
        host = self.headers.get("Host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if name not in ("localhost", self.server.host.lower()) and not _is_address(name):
            message = f"this server does not go by the name {_printable(host)!r}; its page is {self.server.url}"
            raise _Refused(HTTPStatus.FORBIDDEN, message)

    def _tell_place(self, in_front: int) -> None:
        self._send_event({"type": "waiting", "in_front": in_front})

    def _is_gone(self) -> bool:
        """Whether the client has closed the connection; it has nothing more to say before."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _send_event(self, event: Event) -> None:
        if not self.status:
            self._begin(HTTPStatus.OK, "application/x-ndjson")
        self.wfile.write(json.dumps(event).encode() + b"\n")

    def _fail(self, status: HTTPStatus, message: str) -> None:
        """Say what went wrong, within the answer if that has begun."""
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
        """What the base class refuses (no HTTP, an unknown method) is told like everything else."""
        self._fail(HTTPStatus(code), message or HTTPStatus(code).phrase)
        log.info(f"refused {int(code)}{self.note}")

    def version_string(self) -> str:
        """The header Server; the versions in it are nobody's business."""
        return "minlm"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: `_answer` logs."""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _printable(text: str) -> str:
    """The beginning of what a stranger wrote, without anything that commands a terminal."""
    short = text if len(text) <= 60 else text[:59] + "…"
    return "".join(character if character.isprintable() else " " for character in short)
