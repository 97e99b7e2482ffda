"""The catalog of ancient books: read from a Gutendex server, within limits, and kept as a file of JSON lines."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import requests

from minlm.atomic import atomic_write
from minlm.corpus import web
from minlm.corpus.gutenberg.entries import FIELDS, Book, add, has_id, normalize, parse_foreign_json
from minlm.errors import MinlmError
from minlm.progress import Progress, log
from minlm.reading import UNREADABLE

PASSES = 3  # over the pages, if the catalog changes while it is read
MAX_PAGES = 10_000  # all of Project Gutenberg takes 2,500
MAX_CATALOG_BYTES = 1_000_000_000
IDS_OF_A_REQUEST = 32  # as many as a page of the answer has


def write_catalog(
    gutendex_url: str, author_year_end: int, languages: Sequence[str], request_delay: float, output: str | Path
) -> int:
    """Write the catalog of books by ancient authors as JSON lines, ordered by id.

    If the output exists, nothing is requested or written.

    Args:
        gutendex_url: address of the list of books on a Gutendex server.
        author_year_end: request books of which some author was born or died by this year.
        languages: two-letter codes.
        request_delay: seconds between two requests, see `web.Pace`.
        output: file to write.

    Returns:
        The number of books.

    Raises:
        MinlmError: the server cannot be reached, or its answers are not a catalog.
    """
    output = Path(output)
    if output.exists():
        log.info(f"{output} exists; delete it to read the catalog from {gutendex_url} again")
        return sum(1 for _ in open(output, "rb"))
    query = urlencode({"author_year_end": author_year_end, "languages": ",".join(languages)}, safe=",")
    first_page = _with_query(gutendex_url, query)
    with web.make_session(web.Pace(request_delay, output.with_name(web.PACE_FILE))) as session:
        books = _read_pages(session, first_page)
    if not books:
        raise MinlmError(f"{first_page} lists no books; check author_year_end and languages")
    with atomic_write(output) as out:
        for number in sorted(books):
            out.write(json.dumps(books[number], ensure_ascii=False) + "\n")
    return len(books)


def fetch_books(gutendex_url: str, ids: Sequence[int], request_delay: float, pace_file: str | Path) -> list[Book]:
    """Read the entries of some books from a Gutendex server, whoever wrote them and whenever.

    Args:
        gutendex_url: address of the list of books.
        ids: of the books.
        request_delay: seconds between two requests.
        pace_file: see `web.Pace`.

    Returns:
        The entries that the server has.

    Raises:
        MinlmError: the server cannot be reached, or its answers are not a catalog.
    """
    found: dict[int, Book] = {}
    with web.make_session(web.Pace(request_delay, pace_file)) as session:
        for first in range(0, len(ids), IDS_OF_A_REQUEST):
            query = urlencode({"ids": ",".join(map(str, ids[first : first + IDS_OF_A_REQUEST]))}, safe=",")
            found |= _read_pages(session, _with_query(gutendex_url, query))
    return [found[number] for number in ids if number in found]


def _with_query(url: str, query: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{query}"


def read_catalog(path: str | Path) -> list[Book]:
    """Read the books of a catalog file. `entries.normalize` says what becomes of odd entries.

    Raises:
        MinlmError: a line is not an entry.
    """
    books = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                entry = parse_foreign_json(line)
            except UNREADABLE:
                entry = None
            if not has_id(entry):
                raise MinlmError(f"{path}, line {number}: not an entry of a catalog; delete the file to read it again")
            books.append(normalize(entry))
    return books


def _read_pages(session: requests.Session, first_page: str) -> dict[int, Book]:
    """Read all books, by id. If the catalog changes meanwhile, books move between pages: the pages are read again."""
    books: dict[int, Book] = {}
    for _ in range(PASSES):
        url, visited, counts = first_page, set[str](), set[int]()
        found: dict[int, Book] = {}
        size = skipped = 0
        with Progress(0, "reading the catalog", "books") as progress:
            while url and url not in visited:
                visited.add(url)
                page, page_bytes = web.fetch_parsed(session, url, _parse_page)
                size += page_bytes
                if len(visited) > MAX_PAGES or size > MAX_CATALOG_BYTES:
                    raise MinlmError(
                        f"{first_page} lists more than {MAX_PAGES:,} pages or {MAX_CATALOG_BYTES / 1e6:,.0f} MB, the "
                        "limits of a catalog; check gutendex_url"
                    )
                counts.add(page["count"])
                progress.set_total(page["count"])
                progress.update(len(page["results"]))
                skipped += _add_entries(page["results"], found, url)
                url = urljoin(url, page["next"]) if page.get("next") else ""
        books |= found
        if len(counts) == 1 and len(books) + skipped >= max(counts):
            return books
        log.info(f"read {len(books)} books, but the server counts {sorted(counts)}: reading the pages again")
    log.info("the catalog kept changing; continuing with all books seen")
    return books


def _add_entries(results: list[Any], books: dict[int, Book], url: str) -> int:
    """Add the entries of a page to `books`. Returns the number of entries skipped because they have no valid id."""
    valid = [normalize(entry) for entry in results if has_id(entry)]
    duplicates = [book["id"] for book in valid if not add(books, book)]
    skipped = len(results) - len(valid)
    if skipped:
        log.info(f"{url}: {skipped} of {len(results)} entries skipped: their id is not a number")
    if duplicates:
        log.info(f"{url}: duplicate ids, used once: {', '.join(map(str, sorted(set(duplicates))[:10]))}")
    return skipped


def _parse_page(answer: web.Answer) -> tuple[dict[str, Any], int]:
    """Parse a page of the catalog. Returns it and its size in bytes. Single entries may be odd.

    Raises:
        web.UnexpectedAnswer: the answer does not have the form of a catalog page.
    """
    try:
        page = parse_foreign_json(answer.content)
        count, results, following = page["count"], page["results"], page.get("next") or ""
        urlsplit(following)
        has_entries = any(isinstance(entry, dict) and FIELDS.keys() & entry.keys() for entry in results)
        has_types = isinstance(count, int) and isinstance(results, list) and isinstance(following, str)
        if has_types and (has_entries or not results):
            return page, len(answer.content)
    except (AttributeError, LookupError, TypeError, ValueError):
        pass
    start = answer.content[:80].decode(errors="replace")
    raise web.UnexpectedAnswer(f"{answer.url} did not answer with a Gutendex catalog page, but with: {start!r}")
