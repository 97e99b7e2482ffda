"""The selection: which works of the catalog to take, and why each other one is left out."""

import csv
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from minlm.atomic import atomic_write
from minlm.corpus.gutenberg.catalog import read_catalog
from minlm.corpus.gutenberg.entries import Book, add, normalize
from minlm.errors import MinlmError
from minlm.progress import log

COLUMNS = (
    "gutenberg_id", "title", "authors", "translators", "languages", "download_count", "subjects", "bookshelves",
    "text_url", "charset", "other_texts", "local_path", "kept", "reason",
)  # fmt: skip


@dataclass
class Choice:
    """The decision about one book. `texts` are the (address, charset) of its plain texts, best first."""

    book: Book
    kept: bool
    reason: str
    texts: list[tuple[str, str]]

    @property
    def kind(self) -> str:
        """The reason without names and numbers, for counting."""
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
    """Decide about every book of the catalog (see `select`) and write the decisions as a CSV table (see `COLUMNS`).

    Raises:
        MinlmError: the catalog is damaged, lacks an id of `include`, or has no usable book.
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
        author_year_end: negative years are BCE. If an author's year of death is unknown, the year of birth counts.
        max_books: keep at most this many books, the most downloaded ones.
        include: ids to keep whatever the rules say, if they have a plain text.
        exclude: ids to drop.

    Returns:
        One choice per book, most downloaded first.

    Raises:
        MinlmError: the catalog lacks an id of `include`.
    """
    by_id: dict[int, Book] = {}
    for book in books:
        if not add(by_id, normalize(book)):
            log.info(f"book {book['id']} is in the catalog twice; used once")
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

    # Included books come first, so that neither another version nor max_books displaces them.
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
    """Choose the plain texts among formats (MIME type → address). Returns their (address, charset), best first.

    UTF-8 is better than US-ASCII, then come ISO-8859-1 and all others. MIME types can be wrong: an archive is never
    taken, and a name ending in `.txt.utf-8` means UTF-8.
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
    """The path of an http or https address, or "" if it is something else."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.path if parts.scheme in ("http", "https") and parts.netloc and not re.search(r"\s", url) else ""


def _reason_to_drop(book: Book, author_year_end: int) -> str:
    """Why a book is not wanted, or ""."""
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
    """A key that all versions of a work share: its title without case, punctuation and subtitle, and its authors.

    Numbers of volumes and parts are part of the key: volumes are not versions of each other.
    """
    title = book["title"] or ""
    part = re.findall(
        r"\b(?:vol(?:ume)?|books?|part)\b[.\s]*([\divxlc]+(?:\s*-\s*[\divxlc]+)?)\b", title, re.IGNORECASE
    )
    main = re.split(r"[:;\r\n]|--|—|\s-\s", title)[0] or title
    words = re.findall(r"\w+", main.casefold().replace("'", "").replace("’", ""))
    authors = sorted(" ".join(re.findall(r"\w+", author["name"].casefold())) for author in book["authors"] or ())
    return (" ".join(words), *(number.casefold() for number in part), *authors)
