"""A tiny model with a tokenizer, a server that runs it, and a gate that holds the model back between tokens."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import torch

from minlm.generation.load import load_with_tokenizer
from minlm.serve import events
from minlm.serve import server as server_module
from minlm.serve.server import Server
from minlm.tokenization import BPETokenizer
from minlm.transformer import TransformerLM
from minlm.transformer.checkpoint import save_model

# "the" in two merges, and two that cut characters: an untrained model writes any bytes
MERGES = [(b"t", b"h"), (b"th", b"e"), (b"\xe8", b"\xaa"), (b"\x9e", b"t")]
SECONDS = 20  # after which a test that hangs fails


@dataclass
class Trained:
    flags: list[str]  # for nlm-generate and nlm-serve
    model: TransformerLM
    tokenizer: BPETokenizer


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Trained:
    folder: Path = tmp_path_factory.mktemp("trained")
    vocab = {byte: bytes([byte]) for byte in range(256)} | {256: b"<|endoftext|>"}
    vocab |= {257 + index: first + second for index, (first, second) in enumerate(MERGES)}
    tokenizer = BPETokenizer(vocab, MERGES, ["<|endoftext|>"])
    files = folder / "model.pt", folder / "vocab.json", folder / "merges.txt"
    tokenizer.save(*files[1:])
    torch.manual_seed(0)
    save_model(
        files[0], TransformerLM(300, 16, 16, 1, 2, 24), iteration=1234, tokenizer=tokenizer.fingerprint, training={}
    )
    names = "--checkpoint", "--vocab_path", "--merges_path"
    flags = [word for name, file in zip(names, files, strict=True) for word in (name, str(file))]
    return Trained(flags, *load_with_tokenizer(*files)[:2])


@pytest.fixture
def server(trained) -> Iterator[Server]:
    made = Server("127.0.0.1", 0)
    thread = threading.Thread(target=made.serve, args=(trained.model, trained.tokenizer, "<model> & co"))
    thread.start()
    requests.get(made.url, timeout=SECONDS)  # it has begun
    yield made
    made.shutdown()
    thread.join(SECONDS)
    assert not thread.is_alive()


class Gate:
    """Lets through as many tokens as are allowed, and all after `open`."""

    def __init__(self):
        self.allowed = threading.Semaphore(0)
        self.is_open = False

    def let(self, count: int) -> None:
        self.allowed.release(count)

    def open(self) -> None:
        self.is_open = True
        self.let(100)  # those that are waiting

    def wrap(self, stream):
        def gated(*arguments):
            for piece in stream(*arguments):
                if not self.is_open:
                    assert self.allowed.acquire(timeout=SECONDS)
                yield piece

        return gated


@pytest.fixture
def endless(monkeypatch):
    """The model of a server that starts now never ends a text before the limit."""
    monkeypatch.setattr(server_module, "end_of_text", lambda tokenizer: -1)


@pytest.fixture
def gate(server, monkeypatch) -> Iterator[Gate]:
    """One text at a time, which never ends before its limit."""
    made = Gate()
    server.queue.max_served, server.shared._batch.stop_token = 1, -1
    monkeypatch.setattr(events, "decode_stream", made.wrap(events.decode_stream))
    yield made
    made.open()  # otherwise the server could not stop


class Text:
    """A requested text; its events as they arrive."""

    def __init__(self, server: Server, **values):
        self.answer = requests.post(f"{server.url}write", json=values, stream=True, timeout=SECONDS)
        self.events = map(json.loads, self.answer.iter_lines(chunk_size=1))

    def next(self) -> dict:
        return next(self.events)

    def leave(self) -> None:
        self.answer.close()


@pytest.fixture
def ask(server):
    """Request a text; the test's end closes what is still unread."""
    asked = []

    def ask(**values) -> Text:
        asked.append(Text(server, **values))
        return asked[-1]

    yield ask
    for text in asked:
        text.leave()
