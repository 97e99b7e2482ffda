"""Reading the catalog from a server that fails, changes or lies."""

import json

import pytest
from gutendex_pages import book, make_catalog, pages, person
from local_server import Answer

from minlm.corpus.gutenberg.catalog import read_catalog
from minlm.errors import MinlmError


def test_catalog(server, tmp_path):
    books = [book(number, authors=[person("Émile", None, -5)]) for number in (30, 4, 100, 7, 8, 9, 1, 2, 3)]
    server.answer = pages(server, books)
    path = tmp_path / "new" / "catalog.jsonl"
    assert make_catalog(server, path) == 9
    found = read_catalog(path)
    assert [entry["id"] for entry in found] == [1, 2, 3, 4, 7, 8, 9, 30, 100]
    assert found[0]["authors"] == [person("Émile", None, -5)]
    assert found[0]["formats"] == {"text/plain; charset=utf-8": "http://host/1-0.txt"}
    assert len(server.requests) == 3
    assert server.requests[0].path == "/books/?author_year_end=500&languages=en,fr"

    assert make_catalog(server, path) == 9  # it is there: no request
    assert len(server.requests) == 3


def test_catalog_in_trouble(server, tmp_path):
    books = [book(number) for number in range(10)]
    good = pages(server, books)

    def answer(request):
        number = len(server.requests)
        if number == 1:
            return Answer(status=429, headers={"Retry-After": "0"})
        if number == 3:
            return Answer(status=500)
        result = good(request)
        result.break_after = 100 if number == 5 else None
        return result

    server.answer = answer
    assert make_catalog(server, tmp_path / "catalog.jsonl") == 10


def test_a_count_that_changes_makes_it_read_again(server, tmp_path):
    """A book moved from page 2 to page 1 while we were between them."""
    books = [book(number) for number in range(8)]
    moved = [*books[:3], books[5], books[3], *books[4:5], *books[6:]]
    first, then = pages(server, moved[:4] + books[5:6] + moved[5:], counts=(8, 9)), pages(server, books)
    server.answer = lambda request: first(request) if len(server.requests) <= 2 else then(request)
    assert make_catalog(server, tmp_path / "catalog.jsonl") == 8


def test_page_seen_twice(server, tmp_path):
    """A server whose last page names itself as the next: no endless loop, no book twice."""
    good = pages(server, [book(number) for number in range(6)])

    def answer(request):
        page = json.loads(good(request).body)
        page["next"] = page["next"] or f"{server.url}{request.path}"
        return Answer(json.dumps(page).encode())

    server.answer = answer
    assert make_catalog(server, tmp_path / "catalog.jsonl") == 6
    assert len(server.requests) == 2


@pytest.mark.parametrize("body", [b"<html>busy</html>", b"[]", b'{"count": 1}', b'{"count": 1, "results": [{}]}'])
def test_not_a_catalog(server, tmp_path, body):
    server.answer = lambda request: Answer(body)
    with pytest.raises(MinlmError, match="did not answer with a Gutendex catalog"):
        make_catalog(server, tmp_path / "catalog.jsonl")
    assert len(server.requests) == 3
    assert not (tmp_path / "catalog.jsonl").exists()


def test_a_web_page_in_between_is_asked_for_again(server, tmp_path):
    good = pages(server, [book(number) for number in range(10)])
    server.answer = lambda request: Answer(b"<html>busy</html>") if len(server.requests) in (1, 2, 4) else good(request)
    assert make_catalog(server, tmp_path / "catalog.jsonl") == 10
    assert len(server.requests) == 3 + 3


def test_empty_catalog(server, tmp_path):
    server.answer = pages(server, [])
    with pytest.raises(MinlmError, match="lists no books"):
        make_catalog(server, tmp_path / "catalog.jsonl")
