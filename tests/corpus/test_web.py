import subprocess
import sys
import threading
import time

import pytest
from local_server import Answer

from minlm.corpus import web


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only while someone sleeps; returns when each request was allowed."""
    now, allowed = [1000.0], []

    def sleep(seconds):
        now[0] += seconds

    wait = web.Pace.wait

    def recorded(pace):
        wait(pace)
        allowed.append(round(now[0], 6))

    monkeypatch.setattr(web.time, "sleep", sleep)
    monkeypatch.setattr(web.time, "time", lambda: now[0])
    monkeypatch.setattr(web.Pace, "wait", recorded)
    return allowed


def test_pace_between_all_requests_retries_and_redirects(server, clock, tmp_path):
    def answer(request):
        if len(server.requests) == 1:
            return Answer(status=500)
        return Answer(status=302, headers={"Location": "/there"}) if request.path == "/here" else Answer(b"body")

    server.answer = answer
    with web.make_session(web.Pace(10, tmp_path / "last")) as session:
        assert web.fetch(session, server.url + "/here").content == b"body"
        web.fetch(session, server.url + "/there")
    assert len(server.requests) == 4
    assert clock == [1000, 1010, 1020, 1030]


def test_pace_is_shared_through_its_file(server, clock, tmp_path):
    """As programs do that run one after the other: each has its own session."""
    server.answer = lambda request: Answer(b"body")
    for _ in range(3):
        with web.make_session(web.Pace(10, tmp_path / "new" / "last")) as session:
            web.fetch(session, server.url)
    assert clock == [1000, 1010, 1020]


def test_pace_holds_between_processes_at_the_same_time(tmp_path):
    program = "import sys; from minlm.corpus.web import Pace; Pace(0.2, sys.argv[1]).wait()"
    start = time.time()
    processes = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "last")]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert float((tmp_path / "last").read_text()) >= start + 0.4  # the third waited for two others


@pytest.mark.parametrize("last", ["", "1e12"])
def test_pace_file_from_the_future_or_cut_short(tmp_path, last):
    path = tmp_path / "last"
    path.write_text(last)
    web.Pace(30, path).wait()
    assert abs(float(path.read_text()) - time.time()) < 5


@pytest.mark.parametrize("reset", [False, True])
def test_fetch_asks_again_when_the_body_breaks_off(server, reset):
    server.answer = lambda request: Answer(
        b"0123456789", break_after=5 if len(server.requests) < 3 else None, reset=reset
    )
    with web.make_session() as session:
        assert web.fetch(session, server.url).content == b"0123456789"
    assert len(server.requests) == 3


def test_fetch_gives_up(server):
    server.answer = lambda request: Answer(b"0123456789", break_after=5)
    with web.make_session() as session, pytest.raises(web.FetchError, match="broke off, 6 times in a row"):
        web.fetch(session, server.url)
    assert len(server.requests) == web.RETRIES


def test_silent_server_is_a_failed_fetch_and_no_server_is_unreachable(server):
    server.answer = lambda request: Answer(status=0)
    with web.make_session() as session:
        with pytest.raises(web.FetchError, match="no answer"):
            web.fetch(session, server.url)
        assert len(server.requests) == web.RETRIES + 1
        server.close()
        with pytest.raises(web.UnreachableError, match="cannot reach"):
            web.fetch(session, server.url)
        with pytest.raises(web.UnreachableError):
            web.fetch(session, "http://no-such-host.invalid/")


def test_timeout(server, monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT", (5, 0.05))
    monkeypatch.setattr(web, "RETRIES", 1)
    done = threading.Event()
    server.answer = lambda request: Answer(b"late" if done.wait(5) else b"")
    with web.make_session() as session, pytest.raises(web.FetchError, match="timed out"):
        web.fetch(session, server.url)
    done.set()


def test_descriptive_user_agent(server):
    server.answer = lambda request: Answer(b"body")
    with web.make_session() as session:
        web.fetch(session, server.url)
    assert server.requests[0].headers["user-agent"].startswith("minlm/")


@pytest.mark.parametrize(
    ("content_type", "start", "is_page"),
    [
        ("text/html; charset=utf-8", b"anything", True),
        ("text/plain", b" \n<!doctype HTML>", True),
        ("application/octet-stream", b"<html lang=en>", True),
        ("text/plain", b"The <html> of old", False),
    ],
)
def test_is_web_page(content_type, start, is_page):
    assert web.is_web_page({"Content-Type": content_type}, start) is is_page
