"""Pages of a Gutendex server, made of books."""

import json

from local_server import Answer

from minlm.corpus.gutenberg.catalog import write_catalog


def person(name, birth=None, death=None):
    return {"name": name, "birth_year": birth, "death_year": death}


def book(number, title="A Work", authors=None, downloads=10, **changes):
    """An entry as Gutendex sends it."""
    return {
        "id": number,
        "title": title,
        "authors": [person("Homer", -750, -650)] if authors is None else authors,
        "summaries": [],
        "editors": [],
        "translators": [],
        "subjects": ["Epic poetry"],
        "bookshelves": [],
        "languages": ["en"],
        "copyright": False,
        "media_type": "Text",
        "formats": {"text/plain; charset=utf-8": f"http://host/{number}-0.txt", "text/html": "http://host/x.htm"},
        "download_count": downloads,
        **changes,
    }


def pages(server, books, size=4, counts=()):
    """Serves the books in pages with absolute `next` addresses. `counts` overrides `count` per request."""

    def answer(request):
        number = int(request.path.partition("page=")[2] or 1)
        part = books[(number - 1) * size : number * size]
        path = request.path.partition("&page")[0]
        more = f"{server.url}{path}&page={number + 1}" if number * size < len(books) else None
        asked = len(server.requests) - 1
        count = counts[asked] if asked < len(counts) else len(books)
        page = {"count": count, "next": more, "previous": None, "results": part}
        return Answer(json.dumps(page).encode(), headers={"Content-Type": "application/json"})

    return answer


def make_catalog(server, path, **options):
    return write_catalog(f"{server.url}/books/", options.get("year", 500), ["en", "fr"], 0, path)
