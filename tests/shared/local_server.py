"""A local web server that answers as a test tells it to, with the faults of real ones."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """One answer. `break_after`: close (or reset) the connection after so many bytes of the body.

    Without `Content-Length: None` among the headers the length of the body is sent.
    """

    body: bytes | memoryview = b""
    status: int = 200
    headers: dict[str, str | None] = field(default_factory=dict)
    break_after: int | None = None
    reset: bool = False


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    time: float


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that are killed or hang up are part of the tests


class Server:
    """Answers GET requests with `answer(request)`; remembers them in `requests`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Answer] = lambda request: Answer(status=404)
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                request = Request(self.path, {k.lower(): v for k, v in self.headers.items()}, time.time())
                server.requests.append(request)
                answer = server.answer(request)
                if answer.status == 0:  # hang up without a word
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                    if value is not None:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body[: answer.break_after])
                self.wfile.flush()
                if answer.break_after is not None or answer.headers.get("Content-Length", "") is None:
                    self.close_connection = True
                if answer.reset:  # RST in place of FIN
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

            def log_message(self, *arguments: Any) -> None:
                pass

        self.httpd = _QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        self.thread = threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()
        self.thread.join(20)
        assert not self.thread.is_alive()


def serve_file(body: bytes | memoryview, etag: str | None = '"v1"', **headers: str) -> Callable[[Request], Answer]:
    """A server of one file that understands Range and If-Range; `etag` None: it names no version."""

    def answer(request: Request) -> Answer:
        common = {"ETag": etag, "Content-Type": "text/plain", **headers}
        wanted = request.headers.get("range", "")
        if wanted and request.headers.get("if-range") in (None, etag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                return Answer(status=416, headers={**common, "Content-Range": f"bytes */{len(body)}"})
            rest = f"bytes {start}-{len(body) - 1}/{len(body)}"
            return Answer(body[start:], 206, {**common, "Content-Range": rest})
        return Answer(body, 200, common)

    return answer
