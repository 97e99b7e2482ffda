"""The server over HTTP: its answers, their order, and what it refuses."""

import _thread
import json
import re
import socket
import threading
from contextlib import suppress

import pytest
import requests
import torch

from minlm.errors import MinlmError
from minlm.progress import log
from minlm.scripts import generate, serve
from minlm.serve import handler
from minlm.serve.request import MAX_BODY_BYTES, MAX_PROMPT_CHARACTERS, TextRequest, parse
from minlm.serve.server import Server

SECONDS = 20


@pytest.fixture
def lines(caplog, monkeypatch):
    """What the server logs."""
    monkeypatch.setattr(log, "propagate", True)
    caplog.set_level("INFO", "minlm")
    return lambda: [record.getMessage() for record in caplog.records]


def post(server, body=b"{}", path="write", **headers):
    headers = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(server.url + path, data=body, headers=headers, timeout=SECONDS)


def refusal(answer, status: int) -> str:
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    (message,) = [answer.json()["error"]]
    assert "Traceback" not in message
    assert ".py" not in message
    return message


# --- the text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prompt", "temperature", "top_p"), [("", 1, 1), ("the 語", 0.7, 0.9), ("é the\n", 0, 0.5)])
def test_the_text_is_that_of_nlm_generate(trained, ask, capfd, prompt, temperature, top_p):
    flags = [*trained.flags, "--prompt", prompt, "--max_tokens", "40", "--seed", "5", "--device", "cpu"]
    generate.main([*flags, "--temperature", str(temperature), "--top_p", str(top_p)])
    start, *tokens, end = ask(prompt=prompt, max_tokens=40, seed=5, temperature=temperature, top_p=top_p).events
    assert prompt + "".join(token["text"] for token in tokens) + "\n" == capfd.readouterr().out
    assert (start["type"], start["seed"], start["context_length"]) == ("start", 5, 16)
    assert start["prompt_tokens"] == (len(trained.tokenizer.encode(prompt)) or 1)
    assert {token["type"] for token in tokens} <= {"token", "rest"}
    count = sum(token["type"] == "token" for token in tokens)
    assert (end["type"], end["tokens"], end["ended"]) == ("end", count, count < 40)


def test_without_a_seed_one_is_chosen_and_reported(ask):
    first = list(ask(max_tokens=20).events)
    again = list(ask(max_tokens=20, seed=first[0]["seed"]).events)
    assert again[:-1] == first[:-1]  # the end event has the time
    assert ask(max_tokens=20).next()["seed"] != first[0]["seed"]


def test_probabilities_are_the_models_own(trained, ask):
    prompt = "the "
    tokens = [event for event in ask(prompt=prompt, max_tokens=8, temperature=0.5, seed=1).events if "id" in event]
    ids = trained.tokenizer.encode(prompt)
    for token in tokens:
        with torch.inference_mode():
            logits = trained.model(torch.tensor([ids]))[0, -1, :261]  # the model has more ids than the tokenizer
        expected = torch.softmax(logits, dim=-1)
        assert token["probability"] == pytest.approx(expected[token["id"]].item(), rel=1e-4)
        best, best_ids = expected.topk(5)
        assert [other["id"] for other in token["alternatives"]] == best_ids.tolist()
        assert [other["probability"] for other in token["alternatives"]] == pytest.approx(best.tolist(), rel=1e-4)
        ids.append(token["id"])
    assert len(tokens) == 8


def test_a_text_that_the_model_ends(server, ask):
    (_, first, *_) = ask(prompt="the", temperature=0).events
    server.shared._batch.stop_token = first["id"]
    *_, end = ask(prompt="the", temperature=0).events
    assert (end["tokens"], end["ended"]) == (0, True)


# --- the queue --------------------------------------------------------------------------------------------------------


def test_one_text_at_a_time_in_order(ask, gate):
    first, second, third = ask(seed=1, max_tokens=3), None, None
    assert first.next()["type"] == "start"
    second = ask(seed=2, max_tokens=1)
    assert second.next() == {"type": "waiting", "in_front": 1}
    third = ask(seed=3, max_tokens=1)
    assert third.next() == {"type": "waiting", "in_front": 2}
    gate.let(3)
    assert [event["type"] for event in first.events] == ["token", "token", "token", "end"]
    assert second.next()["seed"] == 2
    assert third.next() == {"type": "waiting", "in_front": 1}
    gate.open()
    assert [event["type"] for event in second.events] == ["token", "end"]
    assert [event["type"] for event in third.events] == ["start", "token", "end"]


def test_a_client_that_leaves_makes_room(ask, gate, lines):
    first = ask(prompt="the first")
    first.next()
    second = ask(prompt="the second")
    second.next()
    third = ask(prompt="the third")
    third.next()
    second.leave()
    assert third.next() == {"type": "waiting", "in_front": 1}
    first.leave()
    gate.let(5)  # the second write to a closed connection fails
    assert third.next()["type"] == "start"
    assert any("the second" in line and "the client left" in line for line in lines())
    assert any("the first" in line and "the client left" in line for line in lines())


def test_a_full_queue(server, ask, gate):
    server.queue.max_waiting = 1
    ask().next()
    ask().next()
    assert "waiting already" in refusal(post(server), 503)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "must be JSON"),
        (b"\xff", "must be JSON"),
        (b"[" * 100_000, "must be JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"top_k": 3}', "no setting 'top_k', only prompt, temperature"),
        (b'{"prompt": 1}', "prompt must be a text"),
        (b'{"prompt": null}', "prompt must be a text"),
        (b'{"prompt": "\\ud800"}', "prompt holds half of a surrogate pair"),
        (json.dumps({"prompt": "x" * (MAX_PROMPT_CHARACTERS + 1)}).encode(), "prompt has 10,001 characters"),
        (b'{"temperature": -0.1}', "temperature must be a number ≥ 0 and ≤ 2"),
        (b'{"temperature": 2.1}', "temperature must be a number ≥ 0 and ≤ 2"),
        (b'{"temperature": NaN}', "temperature must be a number"),
        (b'{"temperature": "1"}', "temperature must be a number"),
        (b'{"top_p": 0}', "top_p must be a number > 0 and ≤ 1"),
        (b'{"top_p": 1e999}', "top_p must be a number > 0 and ≤ 1"),
        (b'{"max_tokens": 0}', "max_tokens must be a whole number ≥ 1 and ≤ 2,000"),
        (b'{"max_tokens": 2001}', "max_tokens must be a whole number"),
        (b'{"max_tokens": 2.5}', "max_tokens must be a whole number"),
        (b'{"max_tokens": true}', "max_tokens must be a whole number"),
        (b'{"seed": -1}', "seed must be a whole number ≥ 0 and ≤ 9,0"),
        (b'{"seed": 9007199254740992}', "seed must be a whole number"),
        (b'{"seed": null}', "seed must be a whole number"),
    ],
)
def test_a_bad_request_is_named(body, message):
    with pytest.raises(MinlmError, match=re.escape(message)):
        parse(body)


def test_a_good_request():
    assert parse(b'{"seed": 3}') == TextRequest(seed=3)
    most = {
        "prompt": "\x00" * MAX_PROMPT_CHARACTERS,
        "temperature": 0,
        "top_p": 1,
        "max_tokens": 2000,
        "seed": 2**53 - 1,
    }
    body = json.dumps(most).encode()
    assert len(body) < MAX_BODY_BYTES
    assert parse(body) == TextRequest(**most)


def test_refusals_over_http(server, lines):
    assert "temperature" in refusal(post(server, b'{"temperature": 9}'), 400)
    assert "larger than" in refusal(post(server, b" " * (MAX_BODY_BYTES + 1)), 413)
    assert "larger than" in refusal(post(server, b" " * (8 * MAX_BODY_BYTES)), 413)
    assert "Content-Type" in refusal(post(server, Content_Type="text/plain"), 415)
    assert "Content-Length" in refusal(post(server, iter([b"{}"])), 411)
    assert "/write" in refusal(post(server, path="elsewhere"), 404)
    assert server.url in refusal(requests.get(server.url + "../server.py", timeout=SECONDS), 404)
    assert "PUT" in refusal(requests.put(server.url, timeout=SECONDS), 501)
    assert "OPTIONS" in refusal(requests.options(server.url + "write", timeout=SECONDS), 501)
    assert len(lines()) == 9  # one for each
    assert all(line.isprintable() for line in lines())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 200) for host in ("localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:9", "192.168.0.7:8000")),
        *((host, 403) for host in ("evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "[", "")),
    ],
)
def test_only_under_its_own_name(server, host, status):
    """A foreign name that resolves to this machine (DNS rebinding) gets nothing."""
    assert requests.get(server.url, headers={"Host": host}, timeout=SECONDS).status_code == status
    assert post(server, b'{"max_tokens": 1}', Host=host).status_code == status


def test_requests_that_are_not_http(server, lines):
    for sent in (
        b"\x1b[31m nonsense\r\n\r\n",
        b"GET /\x1b[2J HTTP/1.0\r\n\r\n",
        b"POST /write HTTP/1.0\r\nContent-Length: 9\r\n\r\n{}",
    ):
        with socket.create_connection(server.server_address, SECONDS) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert b"Traceback" not in connection.makefile("rb").read()
    assert len(lines()) == 3
    assert all(line.isprintable() for line in lines())


def test_an_unexpected_error_stays_in_the_terminal(server, monkeypatch, lines, caplog):
    def fails_at_once(*arguments):
        raise RuntimeError("secret")
        yield

    def fails_midway(*arguments):
        yield {"type": "start", "seed": 1}
        raise RuntimeError("secret")

    monkeypatch.setattr(handler, "write_text", fails_at_once)
    message = refusal(post(server), 500)
    monkeypatch.setattr(handler, "write_text", fails_midway)
    answer = post(server)
    assert [json.loads(line) for line in answer.iter_lines()][1:] == [{"type": "error", "message": message}]
    assert "secret" not in message + answer.text
    assert caplog.text.count("RuntimeError: secret") == 2
    monkeypatch.undo()
    assert post(server, b'{"max_tokens": 1}').status_code == 200  # the queue is empty


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_needs_no_other_server(server):
    page = requests.get(server.url, timeout=SECONDS)
    assert "&lt;model&gt; &amp; co: " in page.text
    assert f'maxlength="{MAX_PROMPT_CHARACTERS}"' in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for path in ("style.css", "page.js?version=1"):
        assert requests.get(server.url + path, timeout=SECONDS).status_code == 200
    assert "//" not in page.text.replace("<!--", "")


# --- the program ------------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_it_cleanly(trained, endless, monkeypatch, capfd):
    """A text is being written at the time."""
    kinds = []

    def read_and_interrupt(server):
        answer = requests.post(server.url + "write", json={"max_tokens": 2000}, stream=True, timeout=SECONDS)
        with suppress(requests.exceptions.ChunkedEncodingError):
            for line in answer.iter_lines(chunk_size=1):
                kinds.append(json.loads(line)["type"])
                if len(kinds) == 3:
                    _thread.interrupt_main()

    def start_client(server, *arguments):
        threading.Thread(target=read_and_interrupt, args=(server,)).start()
        serve_until_stopped(server, *arguments)

    serve_until_stopped = Server.serve
    monkeypatch.setattr(Server, "serve", start_client)
    serve.main([*trained.flags, "--port", "0", "--device", "cpu"])
    output, errors = capfd.readouterr()
    assert output == ""
    first, *_, last = errors.splitlines()
    assert "writes at http://127.0.0.1:" in first
    assert last == "stopped"
    assert "the server is stopping" in errors
    assert "Traceback" not in errors
    assert 3 <= len(kinds) < 2000


def error_of(capfd, flags) -> str:
    with pytest.raises(SystemExit) as stop:
        serve.main(flags)
    assert stop.value.code == 1
    (line,) = capfd.readouterr().err.splitlines()
    return line


def test_what_prevents_the_start(trained, capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = error_of(capfd, [*trained.flags, "--port", str(port)])
        assert f"port {port} of 127.0.0.1" in line
        assert "--port" in line.partition(";")[2]
    assert "--port must be" in error_of(capfd, [*trained.flags, "--port", "70000"])
    assert "--host" in error_of(capfd, [*trained.flags, "--port", "0", "--host", "192.0.2.1"])
    missing = ["--checkpoint", "nowhere/model.pt", *trained.flags[2:], "--port", "0"]
    assert "nowhere/model.pt" in error_of(capfd, missing)


def test_a_public_address_is_reported(trained, monkeypatch, capfd):
    monkeypatch.setattr(Server, "serve", lambda self, *arguments: self.server_close())
    serve.main([*trained.flags, "--port", "0", "--host", "0.0.0.0"])
    assert "Everybody who reaches port" in capfd.readouterr().err
