"""Finding ancient books: the Gutendex catalog of Project Gutenberg, and which of its works to take."""

import csv
import json
import re
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests

from minlm.atomic import atomic_write
from minlm.corpus import web
from minlm.errors import MinlmError
from minlm.progress import Progress, log

FIELDS = (
    "id", "title", "authors", "translators", "languages", "copyright", "media_type", "download_count", "subjects",
    "bookshelves",
)  # fmt: skip
COLUMNS = (
    "gutenberg_id", "title", "authors", "translators", "languages", "download_count", "subjects", "bookshelves",
    "text_url", "charset", "other_texts", "local_path", "kept", "reason",
)  # fmt: skip
PASSES = 3  # over the pages, when the catalog changed while it was read

Book = dict[str, Any]  # one entry of the catalog, as Gutendex spells it


def write_catalog(
    gutendex_url: str, author_year_end: int, languages: Sequence[str], request_delay: float, output: str | Path
) -> int:
    """Write the catalog of books by ancient authors as JSON lines, by ascending id.

    A catalog that is there already is left alone, without any request.

    Args:
        gutendex_url: the list of books of a Gutendex server.
        author_year_end: asks for books that have some author who was born or died by this year.
        languages: two-letter codes.
        request_delay: seconds between any two requests, see `web.Pace`.
        output: the file to write.

    Returns:
        The number of books.

    Raises:
        MinlmError: the server cannot be reached, or answers something else than a catalog.
    """
    output = Path(output)
    if output.exists():
        log.info(f"{output} is there already; delete it to ask {gutendex_url} again")
        return sum(1 for _ in open(output, "rb"))
    query = urlencode({"author_year_end": author_year_end, "languages": ",".join(languages)}, safe=",")
    first_page = f"{gutendex_url}{'&' if '?' in gutendex_url else '?'}{query}"
    with web.make_session(web.Pace(request_delay, pace_file(output))) as session:
        books = _read_pages(session, first_page)
    if not books:
        raise MinlmError(f"{first_page} lists no books; check author_year_end and languages")
    with atomic_write(output) as out:
        for number in sorted(books):
            book = {field: books[number].get(field) for field in FIELDS}
            book["formats"] = {k: v for k, v in books[number].get("formats", {}).items() if k.startswith("text/plain")}
            out.write(json.dumps(book, ensure_ascii=False) + "\n")
    return len(books)


def pace_file(catalog_or_selection: str | Path) -> Path:
    """Where the time of the last request is kept: one file for the catalog and all the books."""
    return Path(catalog_or_selection).parent / ".last_request"


def _read_pages(session: requests.Session, first_page: str) -> dict[int, Book]:
    """All books by id. When the catalog changes while we read, books move between pages: read them once more."""
    books: dict[int, Book] = {}
    for _ in range(PASSES):
        url, visited, counts = first_page, set[str](), set[int]()
        with Progress(0, "reading the catalog", "books") as progress:
            while url and url not in visited:
                visited.add(url)
                page = _read_page(session, url)
                counts.add(page["count"])
                progress.expect(page["count"])
                progress.update(len(page["results"]))
                books |= {book["id"]: book for book in page["results"]}
                url = page.get("next") or ""
        if len(counts) == 1 and len(books) >= max(counts):
            return books
        log.info(f"read {len(books)} books, but the server counts {sorted(counts)}: reading the pages again")
    log.info("the catalog kept changing; going on with all the books seen")
    return books


def _read_page(session: requests.Session, url: str) -> dict[str, Any]:
    for attempt in range(web.ODD_ANSWERS):
        response = web.fetch(session, url)
        try:
            page = response.json()
            if isinstance(page["count"], int) and all(isinstance(book["id"], int) for book in page["results"]):
                return page
        except (ValueError, LookupError, TypeError):
            pass
        problem = f"{url} did not answer with a Gutendex catalog page, but with: {response.text[:80]!r}"
        if attempt + 1 < web.ODD_ANSWERS:
            log.info(f"{problem}; asking again")
            time.sleep(web.BACKOFF_SECONDS * 2**attempt)
    raise MinlmError(problem)


@dataclass
class Choice:
    """What is decided about one book. `texts` are (address, charset) of its plain texts, the best first."""

    book: Book
    kept: bool
    reason: str
    texts: list[tuple[str, str]]

    @property
    def kind(self) -> str:
        """The reason without names and numbers, to count by."""
        return re.sub(r" (?:of \S.*|\(.*\))$|^.* (?=lived after)", "", self.reason)


def write_selection(
    catalog: str | Path,
    output: str | Path,
    author_year_end: int,
    max_books: int | None,
    include: Collection[int],
    exclude: Collection[int],
    books_dir: str | Path,
) -> list[Choice]:
    """Decide about every book of the catalog, and write that as a table (see COLUMNS).

    Raises:
        MinlmError: the catalog is not one, an id of `include` is not in it, or no book remains.
    """
    choices = select(read_catalog(catalog), author_year_end, max_books, include, exclude)
    if not any(choice.kept for choice in choices):
        raise MinlmError(f"none of the {len(choices)} books of {catalog} can be used; see the reasons in the log")
    with atomic_write(output) as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(COLUMNS)
        for choice in choices:
            book = choice.book
            (text_url, charset), *others = choice.texts or [("", "")]
            people = ["; ".join(person["name"] for person in book[role] or ()) for role in ("authors", "translators")]
            table.writerow(
                [book["id"], " ".join((book["title"] or "").split()), *people, "; ".join(book["languages"] or ()),
                 book["download_count"], "; ".join(book["subjects"] or ()), "; ".join(book["bookshelves"] or ()),
                 text_url, charset, "; ".join(" ".join(text).strip() for text in others),
                 Path(books_dir) / f"{book['id']}.txt" if choice.kept else "",
                 "yes" if choice.kept else "no", choice.reason]
            )  # fmt: skip
    return choices


def read_catalog(path: str | Path) -> list[Book]:
    """The books of a catalog file."""
    books = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                book = json.loads(line)
                book["formats"].items(), [book[field] for field in FIELDS]
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise MinlmError(
                    f"{path}, line {number}: not an entry of a catalog; delete the file to read it anew"
                ) from error
            books.append(book)
    return books


def select(
    books: Iterable[Book],
    author_year_end: int,
    max_books: int | None = None,
    include: Collection[int] = (),
    exclude: Collection[int] = (),
) -> list[Choice]:
    """Keep public-domain works whose every author died by `author_year_end`, one version of each, as plain text.

    Args:
        books: entries of the catalog.
        author_year_end: negative years are BCE. The year of birth counts where that of death is unknown.
        max_books: keep only so many, the most downloaded ones.
        include: ids to keep whatever the rules say, if they have a plain text.
        exclude: ids to drop.

    Returns:
        One choice per book, the most downloaded first.
    """
    ordered = sorted(books, key=lambda book: (-(book["download_count"] or 0), book["id"]))
    if missing := set(include) - {book["id"] for book in ordered}:
        raise MinlmError(f"include names books that the catalog does not have: {sorted(missing)}")
    choices = []
    for book in ordered:
        texts = choose_texts(book["formats"])
        reason = _reason_to_drop(book, author_year_end)
        if book["id"] in exclude:
            reason = "excluded by id"
        elif not texts:
            reason = "no usable plain text"
        elif book["id"] in include:
            reason = ""
        choices.append(Choice(book, not reason, reason, texts))

    # Included books first, so that neither another version nor max_books displaces them.
    versions: dict[tuple[str, ...], int] = {}
    kept = 0
    for choice in sorted(choices, key=lambda choice: choice.book["id"] not in include):
        if not choice.kept:
            continue
        number, work = choice.book["id"], _work(choice.book)
        if number in include:
            choice.reason = "included by id"
        elif work in versions:
            choice.kept, choice.reason = False, f"another version of {versions[work]}"
        elif max_books is not None and kept >= max_books:
            choice.kept, choice.reason = False, f"beyond max_books ({max_books})"
        else:
            choice.reason = "ancient work in the public domain"
        versions.setdefault(work, number)
        kept += choice.kept
    return choices


def choose_texts(formats: dict[str, str]) -> list[tuple[str, str]]:
    """Address and charset of the plain texts among MIME type → address, the best first.

    UTF-8 before US-ASCII before ISO-8859-1 before all others. Labels lie: an archive is no text whatever its MIME
    type, and `….txt.utf-8` is UTF-8.
    """
    found = []
    for mime_type, url in sorted(formats.items()):
        path = urlsplit(url).path.lower()
        if not mime_type.startswith("text/plain") or not re.search(r"\.txt(\.[a-z0-9-]+)?$", path) or "readme" in path:
            continue
        if re.search(r"\.(zip|gz|bz2|7z)$", path):
            continue
        charset = mime_type.partition("charset=")[2].strip(' "').lower() or path.partition(".txt.")[2]
        order = ("utf-8", "us-ascii", "iso-8859-1")
        found.append((order.index(charset) if charset in order else len(order), url, charset))
    return [(url, charset) for _, url, charset in sorted(found)]


def _reason_to_drop(book: Book, author_year_end: int) -> str:
    """Why a book is not among those wanted; "" if it is."""
    if book["copyright"] is not False:
        return "not in the public domain"
    if (book["media_type"] or "Text") != "Text":
        return f"not a text but {book['media_type']}"
    if not book["authors"]:
        return "no author given"
    for author in book["authors"]:
        year = author["birth_year"] if author["death_year"] is None else author["death_year"]
        if year is None:
            return f"no dates of {author['name']}"
        if year > author_year_end:
            return f"{author['name']} lived after {author_year_end}"
    return ""


def _work(book: Book) -> tuple[str, ...]:
    """The same for all versions of a work: its authors and its title, without case, punctuation and subtitle.

    The number of a volume or part is kept: those are not versions of each other.
    """
    title = book["title"] or ""
    part = re.findall(
        r"\b(?:vol(?:ume)?|books?|part)\b[.\s]*([\divxlc]+(?:\s*-\s*[\divxlc]+)?)\b", title, re.IGNORECASE
    )
    main = re.split(r"[:;\r\n]|--|—|\s-\s", title)[0] or title
    words = re.findall(r"\w+", main.casefold().replace("'", "").replace("’", ""))
    authors = sorted(" ".join(re.findall(r"\w+", author["name"].casefold())) for author in book["authors"] or ())
    return (" ".join(words), *(number.casefold() for number in part), *authors)
