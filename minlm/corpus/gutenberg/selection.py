"""The selection: which works of the catalog to take, and why each other one is left out."""

import csv
import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from minlm.atomic import atomic_write
from minlm.corpus import web
from minlm.corpus.gutenberg.catalog import fetch_books, read_catalog
from minlm.corpus.gutenberg.entries import Book, add, normalize
from minlm.errors import MinlmError
from minlm.progress import log

COLUMNS = (
    "gutenberg_id", "title", "authors", "translators", "languages", "download_count", "subjects", "bookshelves",
    "text_url", "charset", "other_texts", "local_path", "kept", "reason",
)  # fmt: skip


Work = tuple[tuple[str, ...], tuple[str, ...]]  # the title, with the numbers of its parts, and the authors


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
        return re.sub(r" (?:(?:of|as) \S.*|\(.*\))$|^.* (?=lived after)", "", self.reason)


def write_selection(
    catalog: str | Path,
    output: str | Path,
    author_year_end: int,
    max_books: int | None,
    include: Collection[int],
    exclude: Collection[int],
    books_dir: str | Path,
    gutendex_url: str,
    request_delay: float,
) -> list[Choice]:
    """Decide about every book of the catalog (see `select`) and write the decisions as a CSV table (see `COLUMNS`).

    Books of `include` that the catalog does not have, such as anonymous works, are requested from the server.

    Raises:
        MinlmError: the catalog is damaged, it and the server lack an id of `include`, or no book is usable.
    """
    books = read_catalog(catalog)
    if missing := sorted(set(include) - {book["id"] for book in books}):
        log.info(f"asking {gutendex_url} for books that the catalog does not have: {missing}")
        books += fetch_books(gutendex_url, missing, request_delay, Path(output).with_name(web.PACE_FILE))
    choices = select(books, author_year_end, max_books, include, exclude)
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
        MinlmError: an id of `include` is not among the books.
    """
    by_id: dict[int, Book] = {}
    for book in books:
        if not add(by_id, normalize(book)):
            log.info(f"book {book['id']} is in the catalog twice; used once")
    ordered = sorted(by_id.values(), key=lambda book: (-(book["download_count"] or 0), book["id"]))
    if missing := set(include) - set(by_id):
        raise MinlmError(f"include names books that the server does not have: {sorted(missing)}")
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
    versions: dict[Work, int] = {}
    collected: dict[Work, int] = {}  # the works within collections
    kept = 0
    for choice in sorted(choices, key=lambda choice: choice.book["id"] not in include):
        if not choice.kept:
            continue
        number, work = choice.book["id"], work_of(choice.book)
        parts = collected_works(work)
        overlapping = collected.get(work) or next((versions[part] for part in parts if part in versions), None)
        if number in include:
            choice.reason = "included by id"
        elif work in versions:
            choice.kept, choice.reason = False, f"another version of {versions[work]}"
        elif overlapping is not None:
            choice.kept, choice.reason = False, f"in part the same as {overlapping}"
        elif max_books is not None and kept >= max_books:
            choice.kept, choice.reason = False, f"beyond max_books ({max_books})"
        else:
            choice.reason = "ancient work in the public domain"
        if choice.kept:
            versions.setdefault(work, number)
            collected |= {part: number for part in parts if part not in collected}
            kept += 1
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


def work_of(book: Book) -> Work:
    """A key that all versions of a work share.

    The title is without case, accents, punctuation, subtitle, leading article and the name of the author. Numbers of
    volumes and parts belong to the key: volumes are not versions of each other.
    """
    title = _plain(book["title"] or "")
    part = re.findall(r"\b(?:vol(?:ume)?|books?|part)\b[.\s]*([\divxlc]+(?:\s*-\s*[\divxlc]+)?)\b", title)
    main = re.split(r"[:;(\r\n]|--|\s-\s|,? (?:translated|rendered|done) ", title)[0] or title
    authors = sorted(" ".join(re.findall(r"\w+", _plain(author["name"]))) for author in book["authors"] or ())
    names = {name for author in authors for name in author.split()}
    words = re.findall(r"\w+|,|&", main.replace("'", ""))
    if words and words[0].removesuffix("s") in names:  # Homer's Iliad
        words = words[1:] or words
    for i in range(len(words) - 1, 0, -1):
        if words[i] in ("of", "by") and (names | {"the"}).issuperset(words[i + 1 :]):  # The Iliad of Homer
            words = words[:i]
    if words and words[0] in ("the", "a", "an"):
        words = words[1:] or words
    return (" ".join(words), *part), tuple(authors)


def collected_works(work: Work) -> list[Work]:
    """The keys of the works that the title of a collection names: "Apology, Crito, and Phaedo" has three."""
    (title, *number), authors = work
    parts = [re.sub(r"^(?:and|&|the|an?) ", "", part.strip()) for part in re.split(r" , | and | & ", title)]
    return [((part, *number), authors) for part in parts if part] if len(parts) > 1 else []


def _plain(text: str) -> str:
    """Text in small letters without accents, with ae for æ and a dash as two hyphens."""
    text = unicodedata.normalize("NFKD", text.casefold().replace("æ", "ae").replace("œ", "oe").replace("—", "--"))
    return "".join(char for char in text if not unicodedata.combining(char)).replace("’", "'")
