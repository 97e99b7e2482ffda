"""An HTTP server for the page and for texts of the model; `handler` answers a connection."""

import errno
import socket
from ipaddress import ip_address
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

import jinja2

from minlm.errors import MinlmError
from minlm.generation.samples_file import end_of_text
from minlm.generation.shared import SharedModel
from minlm.progress import log
from minlm.serve.handler import Handler
from minlm.serve.queue import RequestQueue
from minlm.serve.request import MAX_PROMPT_CHARACTERS, RANGES, TextRequest
from minlm.tokenization import BPETokenizer
from minlm.tokenization.chat import has_chat_tokens
from minlm.transformer.model import TransformerLM

MAX_SERVED = 8  # requests whose texts advance together
MAX_WAITING = 8
STOP_SECONDS = 10  # for the last token when the server stops
PAGE = Path(__file__).parent / "page"


class Server(ThreadingMixIn, TCPServer):
    """Listens as soon as it is created, and answers in `serve`: one thread per connection, one batch for all texts.

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
        self.queue = RequestQueue(MAX_SERVED, MAX_WAITING)
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), Handler)
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
        """Answer requests until Ctrl-C or, from another thread, `shutdown`; then stop the current texts.

        `model` and `tokenizer` are a pair that `load.load_with_tokenizer` has checked; the page shows `name`.
        """
        self.tokenizer = tokenizer
        self.shared = SharedModel(model, end_of_text(tokenizer), max(tokenizer.vocab) + 1)
        self.files = _page_files(model, name, has_chat_tokens(tokenizer))
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


def _page_files(model: TransformerLM, name: str, chat: bool) -> dict[str, tuple[str, bytes]]:
    """Path → MIME type and content. The defaults and ranges on the page are those of `request`."""
    config = model.config
    template = jinja2.Template((PAGE / "index.html").read_text(encoding="utf-8"), autoescape=True)
    page = template.render(
        model=f"{name}: {model.num_parameters():,} parameters in {config['num_layers']} layers, "
        f"a vocabulary of {config['vocab_size']:,} tokens, a context of {config['context_length']:,}",
        default=TextRequest(),
        chat=chat,
        ranges=RANGES,
        max_prompt_characters=MAX_PROMPT_CHARACTERS,
    )
    return {
        "/": ("text/html; charset=utf-8", page.encode()),
        "/style.css": ("text/css; charset=utf-8", (PAGE / "style.css").read_bytes()),
        "/page.js": ("text/javascript; charset=utf-8", (PAGE / "page.js").read_bytes()),
    }
