"""Finding ancient books: the Gutendex catalog of Project Gutenberg, and which of its works to take."""

import csv
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from minlm.atomic import atomic_write
from minlm.corpus import web
from minlm.corpus.catalog_pages import read_pages
from minlm.corpus.entries import Book, add, has_number, parse_foreign_json, tidy
from minlm.errors import MinlmError
from minlm.progress import log
from minlm.reading import UNREADABLE

COLUMNS = (
    "gutenberg_id", "title", "authors", "translators", "languages", "download_count", "subjects", "bookshelves",
    "text_url", "charset", "other_texts", "local_path", "kept", "reason",
)  # fmt: skip


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
        books = read_pages(session, first_page)
    if not books:
        raise MinlmError(f"{first_page} lists no books; check author_year_end and languages")
    with atomic_write(output) as out:
        for number in sorted(books):
            out.write(json.dumps(books[number], ensure_ascii=False) + "\n")
    return len(books)


def pace_file(catalog_or_selection: str | Path) -> Path:
    """Where the time of the last request is kept: one file for the catalog and all the books."""
    return Path(catalog_or_selection).parent / ".last_request"


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
    """The books of a catalog file; see `entries.tidy` for what is odd in one.

    Raises:
        MinlmError: a line is not an entry at all.
    """
    books = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                entry = parse_foreign_json(line)
            except UNREADABLE:
                entry = None
            if not has_number(entry):
                raise MinlmError(f"{path}, line {number}: not an entry of a catalog; delete the file to read it anew")
            books.append(tidy(entry))
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
    by_id: dict[int, Book] = {}
    for book in books:
        if not add(by_id, tidy(book)):
            log.info(f"book {book['id']} is twice in the catalog; taken once")
    ordered = sorted(by_id.values(), key=lambda book: (-(book["download_count"] or 0), book["id"]))
    if missing := set(include) - set(by_id):
        raise MinlmError(f"include names books that the catalog does not have: {sorted(missing)}")
    choices = []
    for book in ordered:
        texts = choose_texts(book["formats"])
        reason = _reason_to_drop(book, author_year_end)
        if book["id"] in exclude:
            reason = "excluded by id"
        elif not texts:
            reason = reason if "problem" in book else "no usable plain text"
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
        path = _web_path(url).lower()
        if not mime_type.startswith("text/plain") or not re.search(r"\.txt(\.[a-z0-9-]+)?$", path) or "readme" in path:
            continue
        if re.search(r"\.(zip|gz|bz2|7z)$", path):
            continue
        named = re.match(r"[\w.:+-]*", mime_type.partition("charset=")[2].strip(' "').lower())
        charset = (named[0] if named else "") or path.partition(".txt.")[2]
        order = ("utf-8", "us-ascii", "iso-8859-1")
        found.append((order.index(charset) if charset in order else len(order), url, charset))
    return [(url, charset) for _, url, charset in sorted(found)]


def _web_path(url: str) -> str:
    """The path of an address; "" if it is none on the web."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.path if parts.scheme in ("http", "https") and parts.netloc and not re.search(r"\s", url) else ""


def _reason_to_drop(book: Book, author_year_end: int) -> str:
    """Why a book is not among those wanted; "" if it is."""
    if "problem" in book:
        return f"odd entry ({book['problem']})"
    if book["copyright"] is None:
        return "copyright unknown"
    if book["copyright"]:
        return "not in the public domain"
    if (book["media_type"] or "Text") != "Text":
        return f"not a text but {book['media_type']}"
    if not book["languages"]:
        return "no language given"
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
