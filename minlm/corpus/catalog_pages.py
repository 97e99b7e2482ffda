"""Reading the pages of a Gutendex server's list of books, within limits."""

import time
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from minlm.corpus import web
from minlm.corpus.entries import FIELDS, Book, add, has_number, parse_foreign_json, tidy
from minlm.errors import MinlmError
from minlm.progress import Progress, log

PASSES = 3  # over the pages, when the catalog changed while it was read
MAX_PAGES = 10_000  # all of Project Gutenberg are 2,500
MAX_CATALOG_BYTES = 1_000_000_000


def read_pages(session: requests.Session, first_page: str) -> dict[int, Book]:
    """All books by id. When the catalog changes while we read, books move between pages: read them once more."""
    books: dict[int, Book] = {}
    for _ in range(PASSES):
        url, visited, counts = first_page, set[str](), set[int]()
        these: dict[int, Book] = {}
        size = no_books = 0
        with Progress(0, "reading the catalog", "books") as progress:
            while url and url not in visited:
                visited.add(url)
                page, page_bytes = _read_page(session, url)
                size += page_bytes
                if len(visited) > MAX_PAGES or size > MAX_CATALOG_BYTES:
                    raise MinlmError(
                        f"{first_page} lists more than {MAX_PAGES:,} pages or {MAX_CATALOG_BYTES / 1e6:,.0f} MB, the "
                        "most that is read of a catalog; check gutendex_url"
                    )
                counts.add(page["count"])
                progress.expect(page["count"])
                progress.update(len(page["results"]))
                no_books += _add_page(page["results"], these, url)
                url = urljoin(url, page.get("next") or "") if page.get("next") else ""
        books |= these
        if len(counts) == 1 and len(books) + no_books >= max(counts):
            return books
        log.info(f"read {len(books)} books, but the server counts {sorted(counts)}: reading the pages again")
    log.info("the catalog kept changing; going on with all the books seen")
    return books


def _add_page(results: list[Any], books: dict[int, Book], url: str) -> int:
    """Add the entries of a page; returns how many were left out because they have no number."""
    numbered = [tidy(entry) for entry in results if has_number(entry)]
    twice = [book["id"] for book in numbered if not add(books, book)]
    odd = len(results) - len(numbered)
    if odd:
        log.info(f"{url}: {odd} of {len(results)} entries left out: they have no id that is a number")
    if twice:
        log.info(f"{url}: listed twice, and taken once: {', '.join(map(str, sorted(set(twice))[:10]))}")
    return odd


def _read_page(session: requests.Session, url: str) -> tuple[dict[str, Any], int]:
    """A page, and its size in bytes."""
    for attempt in range(web.ODD_ANSWERS):
        body = web.fetch(session, url).content
        try:
            page = parse_foreign_json(body)
            if _is_page(page):
                return page, len(body)
        except ValueError:
            pass
        problem = f"{url} did not answer with a Gutendex catalog page, but with: {body[:80].decode(errors='replace')!r}"
        if attempt + 1 < web.ODD_ANSWERS:
            log.info(f"{problem}; asking again")
            time.sleep(web.BACKOFF_SECONDS * 2**attempt)
    raise MinlmError(problem)


def _is_page(page: Any) -> bool:
    """Whether it has the shape of a catalog page; single entries may be odd."""
    if not isinstance(page, dict) or not isinstance(page.get("count"), int):
        return False
    results = page.get("results")
    if not isinstance(results, list) or not isinstance(page.get("next") or "", str):
        return False
    urlsplit(page.get("next") or "")  # raises ValueError
    return not results or any(isinstance(entry, dict) and FIELDS.keys() & entry.keys() for entry in results)
