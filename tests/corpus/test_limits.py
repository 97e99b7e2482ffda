"""What a server sends is bounded: no answer fills the memory, none goes on for ever, and the limit is named."""

import csv
import gzip
import json
import tracemalloc
import zlib

import pytest
from local_server import Answer

from minlm.corpus import web
from minlm.corpus.download import download
from minlm.corpus.gutenberg import books, catalog
from minlm.corpus.gutenberg.books import decode, fetch_book
from minlm.corpus.gutenberg.catalog import write_catalog
from minlm.errors import MinlmError

LARGE = memoryview(bytes(50_000_000))
SOME = 10_000_000  # bytes of memory that an answer of 50 MB must not take


@pytest.fixture
def memory():
    """Fails if the test held as much as an answer is large (the server in this process holds none of it)."""
    assert len(LARGE) > 4 * SOME
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < SOME


def packed(name):
    """50 MB of spaces, packed one way or another."""
    compress = zlib.compressobj(1, wbits=31 if name == "gzip" else 15)
    return b"".join(compress.compress(b" " * 1_000_000) for _ in range(50)) + compress.flush()


BOMBS = {name: packed(name) for name in ("gzip", "deflate")}


@pytest.mark.parametrize("name", BOMBS)
def test_what_unpacks_to_too_much_is_not_unpacked(server, monkeypatch, memory, name):
    server.answer = lambda request: Answer(BOMBS[name], headers={"Content-Encoding": name})
    with web.make_session() as session, pytest.raises(web.FetchError, match="longer than 1 MB, the limit for it"):
        web.fetch(session, server.url, 1_000_000)
    assert len(server.requests) == 1


def test_a_long_answer_is_not_read(server, memory):
    server.answer = lambda request: Answer(LARGE, headers={} if request.path == "/" else {"Content-Length": None})
    for path in ("/", "/unstated"):
        with web.make_session() as session, pytest.raises(web.FetchError, match="longer than 1 MB"):
            web.fetch(session, server.url + path, 1_000_000)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x-unknown"])
def test_what_is_packed_as_nobody_asked_is_refused(server, tmp_path, encoding):
    server.answer = lambda request: Answer(
        gzip.compress(gzip.compress(b"text")), headers={"Content-Encoding": encoding}
    )
    for receive in (lambda url: download(url, tmp_path / "file"), lambda url: web.fetch(web.make_session(), url)):
        with pytest.raises(MinlmError, match=f"compressed as '{encoding}'"):
            receive(server.url)


@pytest.mark.parametrize(
    "body", [b"no gzip", gzip.compress(b"text" * 10_000)[:-20] + b"x" * 20], ids=["no gzip", "damaged"]
)
def test_what_cannot_be_unpacked_is_a_clear_error(server, tmp_path, body):
    server.answer = lambda request: Answer(body, headers={"Content-Encoding": "gzip"})
    for receive in (lambda url: download(url, tmp_path / "file"), lambda url: web.fetch(web.make_session(), url)):
        with pytest.raises(MinlmError, match="cannot be decompressed"):
            receive(server.url)
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("length", [{}, {"Content-Length": None}], ids=["length stated", "length unstated"])
@pytest.mark.parametrize("status", [302, 429, 503, 404, 206])
def test_the_body_of_an_answer_nobody_wants_is_not_read(server, tmp_path, memory, status, length):
    large = Answer(LARGE, status, {"Location": "/there", "Retry-After": "0", **length})
    server.answer = lambda request: Answer(b"text") if request.path == "/there" else large
    if status == 302:
        assert download(server.url, tmp_path / "file") == 4
    else:
        with pytest.raises(MinlmError, match=str(status)):
            download(server.url, tmp_path / "file")


def test_redirects_end(server):
    server.answer = lambda request: Answer(status=302, headers={"Location": f"/{len(server.requests)}"})
    with web.make_session() as session, pytest.raises(web.FetchError, match="Exceeded 10 redirects"):
        web.fetch(session, server.url)
    assert len(server.requests) == web.MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    "place", ["http://[::1", "http://[x]/", "ftp://host/", "http://", "//", "http://.x", "file:///etc/passwd",
              "http://\u00e9\u0301.invalid:99999/", "http://h:port/", "http://" + "x" * 300, "data:text/plain,x"]
)  # fmt: skip
def test_odd_redirects(server, tmp_path, place):
    server.answer = lambda request: Answer(status=302, headers={"Location": place.encode().decode("latin-1")})
    with pytest.raises(MinlmError):
        download(server.url, tmp_path / "file")


@pytest.mark.parametrize(
    ("headers", "problem"),
    [({"X": "x" * 100_000}, "header line"), ({f"X-{i}": "x" for i in range(200)}, "100 headers")],
)
def test_headers_are_bounded(server, headers, problem):
    server.answer = lambda request: Answer(b"text", headers=headers)
    with web.make_session() as session, pytest.raises(web.FetchError, match=f"no answer .*{problem}"):
        web.fetch(session, server.url)


def test_a_book_that_is_too_long_is_recorded_and_its_other_text_is_taken(server, tmp_path, monkeypatch):
    monkeypatch.setattr(books, "MAX_BOOK_BYTES", 1_000_000)
    table = tmp_path / "selection.csv"
    with open(table, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["gutenberg_id", "text_url", "charset", "other_texts", "kept"])
        rows.writerow([1, f"{server.url}/1.txt", "utf-8", "", "yes"])
        rows.writerow([2, f"{server.url}/2.txt", "utf-8", f"{server.url}/good.txt", "yes"])
    bomb = Answer(BOMBS["gzip"], headers={"Content-Encoding": "gzip"})
    server.answer = lambda request: Answer(b"text") if request.path == "/good.txt" else bomb
    assert "failed" in fetch_book(table, 1, tmp_path / "books" / "1.txt", 0)
    assert "longer than 1 MB" in (tmp_path / "failed" / "1.txt").read_text()
    fetch_book(table, 2, tmp_path / "books" / "2.txt", 0)
    assert (tmp_path / "books" / "2.txt").read_bytes() == b"text"


def test_a_book_of_broken_characters_only(memory):
    assert decode(b"\xff" * 300_000)[1] == "cp1252"


def read(server, tmp_path):
    return write_catalog(f"{server.url}/books/", 500, ["en"], 0, tmp_path / "catalog.jsonl")


def endless(server, results):
    """Each page names another one."""
    return lambda request: Answer(
        json.dumps({"count": 1, "next": f"{server.url}/{len(server.requests)}", "results": results}).encode()
    )


def test_a_catalog_without_end(server, tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "MAX_PAGES", 20)
    server.answer = endless(server, [])
    with pytest.raises(MinlmError, match="more than 20 pages or 1,000 MB"):
        read(server, tmp_path)
    assert len(server.requests) == 21
    monkeypatch.setattr(catalog, "MAX_CATALOG_BYTES", 2_000_000)
    server.answer = endless(server, [{"id": 1, "title": "x" * 1_000_000}])
    with pytest.raises(MinlmError, match="more than 20 pages or 2 MB"):
        read(server, tmp_path)
    assert not (tmp_path / "catalog.jsonl").exists()


def test_a_page_that_is_too_long(server, tmp_path, memory, monkeypatch):
    monkeypatch.setattr(web.fetch_parsed, "__defaults__", (1_000_000,))
    server.answer = lambda request: Answer(BOMBS["gzip"], headers={"Content-Encoding": "gzip"})
    with pytest.raises(MinlmError, match="longer than 1 MB"):
        read(server, tmp_path)
