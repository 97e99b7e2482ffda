"""Downloads that break, are tried again and go on."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from downloads import AFTER, BODY, SHA256, breaking, parts
from local_server import Answer, serve_file

from minlm.corpus import web
from minlm.corpus.download import CHUNK_BYTES, download
from minlm.errors import MinlmError


def test_plain(server, tmp_path):
    server.answer = serve_file(BODY)
    output = tmp_path / "new" / "file.txt"
    assert download(server.url + "/file", output, SHA256.upper()) == len(BODY)
    assert output.read_bytes() == BODY
    assert parts(output.parent) == ["file.txt"]
    assert "minlm" in server.requests[0].headers["user-agent"]


def test_resumes_after_breaks_with_a_range(server, tmp_path):
    server.answer = breaking(serve_file(BODY), AFTER, times=3)
    download(server.url, tmp_path / "file", SHA256)
    assert (tmp_path / "file").read_bytes() == BODY
    assert [request.headers.get("range") for request in server.requests] == [
        None,
        "bytes=131072-",
        "bytes=262144-",
        "bytes=393216-",
    ]
    assert server.requests[1].headers["if-range"] == '"v1"'


def test_resumes_after_connection_resets(server, tmp_path):
    server.answer = breaking(serve_file(BODY), AFTER, times=3, reset=True)
    download(server.url, tmp_path / "file", SHA256)
    assert (tmp_path / "file").read_bytes() == BODY


def test_resumes_by_date_when_there_is_no_strong_etag(server, tmp_path):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    whole = serve_file(BODY, etag=date)

    def answer(request):
        result = whole(request)
        result.headers |= {"ETag": 'W/"weak"', "Last-Modified": date}
        return result

    server.answer = breaking(answer, AFTER)
    download(server.url, tmp_path / "file", SHA256)
    assert server.requests[1].headers["if-range"] == date
    assert server.requests[1].headers["range"] == "bytes=131072-"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 0])
def test_retries_answers_that_may_pass(server, tmp_path, status):
    whole = serve_file(BODY)
    server.answer = lambda request: (
        Answer(status=status, headers={"Retry-After": "0"}) if len(server.requests) < 3 else whole(request)
    )
    download(server.url, tmp_path / "file", SHA256)
    assert len(server.requests) == 3


def test_retry_after_is_obeyed_within_bounds(server, tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", slept.append)
    whole = serve_file(BODY)
    waits = ["7", "100000", "soon"]
    server.answer = lambda request: (
        Answer(status=429, headers={"Retry-After": waits[len(server.requests) - 1]})
        if len(server.requests) <= len(waits)
        else whole(request)
    )
    download(server.url, tmp_path / "file", SHA256)
    assert slept[:2] == [7, web.LONGEST_RETRY_AFTER]


def test_retries_are_bounded(server, tmp_path):
    server.answer = lambda request: Answer(status=503)
    with pytest.raises(MinlmError, match="503"):
        download(server.url, tmp_path / "file")
    assert len(server.requests) == web.RETRIES + 1


def test_gives_up_when_no_byte_comes_and_goes_on_in_the_next_run(server, tmp_path):
    first = breaking(serve_file(BODY), AFTER)
    never = breaking(serve_file(BODY), 0, times=10**6)
    server.answer = lambda request: first(request) if len(server.requests) == 1 else never(request)
    with pytest.raises(MinlmError, match="131,072 bytes; run again"):
        download(server.url, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    server.requests.clear()
    server.answer = serve_file(BODY)
    download(server.url, tmp_path / "file", SHA256)
    assert [request.headers.get("range") for request in server.requests] == ["bytes=131072-"]


def test_always_breaking_without_ranges_ends(server, tmp_path):
    server.answer = breaking(lambda request: Answer(BODY), AFTER, times=10**6)
    with pytest.raises(MinlmError, match="broke off"):
        download(server.url, tmp_path / "file")


def test_starts_over_when_the_range_is_ignored(server, tmp_path):
    server.answer = breaking(lambda request: Answer(BODY, headers={"ETag": '"v1"'}), AFTER)
    download(server.url, tmp_path / "file", SHA256)
    assert (tmp_path / "file").read_bytes() == BODY


def test_starts_over_when_the_file_changed(server, tmp_path):
    old, new = serve_file(BODY[::-1], '"old"'), serve_file(BODY, '"v1"')
    first = breaking(old, AFTER)
    server.answer = lambda request: first(request) if len(server.requests) == 1 else new(request)
    download(server.url, tmp_path / "file", SHA256)
    assert (tmp_path / "file").read_bytes() == BODY


def test_starts_over_when_if_range_is_ignored_and_the_file_changed(server, tmp_path):
    first, changed = breaking(serve_file(BODY[::-1], '"old"'), AFTER), serve_file(BODY + b"more", '"v2"')

    def answer(request):
        if len(server.requests) == 1:
            return first(request)
        request.headers.pop("if-range", None)
        return changed(request)

    server.answer = answer
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY + b"more"


def test_a_complete_part_of_a_killed_run_is_used(server, tmp_path):
    (tmp_path / ".file.part").write_bytes(BODY)
    (tmp_path / ".file.part.json").write_text(
        f'{{"url": "{server.url}", "validator": "\\"v1\\"", "size": {len(BODY)}, "sha256": ""}}'
    )
    server.answer = serve_file(BODY)
    download(server.url, tmp_path / "file", SHA256)
    assert len(server.requests) == 1
    assert (tmp_path / "file").read_bytes() == BODY


@pytest.mark.parametrize("record", ["", "[]", '{"url": "http://elsewhere"}'])
def test_a_part_of_something_else_is_not_used(server, tmp_path, record):
    (tmp_path / ".file.part").write_bytes(b"rubbish")
    (tmp_path / ".file.part.json").write_text(record)
    server.answer = serve_file(BODY)
    download(server.url, tmp_path / "file", SHA256)
    assert (tmp_path / "file").read_bytes() == BODY


def test_resumes_after_a_killed_process(server, tmp_path):
    body = os.urandom(5_000_000)
    whole = serve_file(body)
    killed = threading.Event()

    def slow(request):
        result = whole(request)
        if len(server.requests) == 1:
            result.break_after = 3_000_000
        else:
            killed.wait(60)
        return result

    server.answer = slow
    process = subprocess.Popen(
        [sys.executable, "-m", "minlm.scripts.download", "--url", server.url, "--output", str(tmp_path / "file")]
    )
    end = time.monotonic() + 60
    while len(server.requests) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed.set()
    assert not (tmp_path / "file").exists()
    server.answer = whole
    server.requests.clear()
    download(server.url, tmp_path / "file", hashlib.sha256(body).hexdigest())
    assert [request.headers.get("range") for request in server.requests] == [
        f"bytes={3_000_000 // CHUNK_BYTES * CHUNK_BYTES}-"
    ]
