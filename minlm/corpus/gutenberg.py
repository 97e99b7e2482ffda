"""Fetching one book from Project Gutenberg, and finding out how its bytes spell text."""

import codecs
import csv
import re
import time
from pathlib import Path

import requests

from minlm.atomic import atomic_write
from minlm.corpus import web
from minlm.corpus.gutenberg_frame import is_cut_off
from minlm.corpus.gutendex import pace_file
from minlm.encodings import START_BYTES, wide_encoding
from minlm.errors import MinlmError
from minlm.progress import log
from minlm.reading import reading

MAX_BOOK_BYTES = 64_000_000  # unpacked; the Bible has 4
CUT_OFF = "a text without its end"


def fetch_book(selection: str | Path, gutenberg_id: int, output: str | Path, request_delay: float) -> str:
    """Fetch a book of the selection and write it as UTF-8.

    An answer that is no text is asked for again, then the book's other plain texts are tried. If the server gives no
    usable text, however often it is asked, the output is empty and the reason is in `failed/ID.txt` beside the folder
    of the output; the other books go on, and `build` decides whether enough of them came. Delete the empty file to
    try again.

    Returns:
        What happened, for the log.

    Raises:
        MinlmError: the book is not selected, or the server cannot be reached at all.
    """
    output = Path(output)
    record = output.parent.with_name("failed") / f"{gutenberg_id}.txt"
    addresses = _addresses(selection, gutenberg_id)
    try:
        with web.make_session(web.Pace(request_delay, pace_file(selection))) as session:
            text, what = _fetch_text(session, addresses)
    except web.FetchError as error:
        with atomic_write(record) as out:
            out.write(f"{error}\n")
        with atomic_write(output):
            pass
        return f"failed, and was recorded in {record}: {error}"
    with atomic_write(output) as out:
        out.write(text)
    record.unlink(missing_ok=True)
    return what


def _fetch_text(session: requests.Session, addresses: list[tuple[str, str]]) -> tuple[str, str]:
    """The first good text among (address, charset), and what it is.

    A text without its end is taken only if there is no whole one, because a few books lack the marker of the end.
    """
    problems, cut_off = [], None
    for url, charset in addresses:
        for attempt in range(web.ODD_ANSWERS):
            try:
                received = web.fetch(session, url, MAX_BOOK_BYTES)
            except web.FetchError as error:  # it has been asked often enough
                problem = str(error)
                break
            text, used = decode(received.content, charset)
            what = f"{len(received.content):,} bytes of {used} from {url}"
            problem = _problem(received, text)
            if not problem:
                return text, what
            if problem == CUT_OFF:
                cut_off = text, f"{what}, but it seems to be cut off: the marker of the end is missing"
            problem = f"{url}: the server sent {problem}"
            if attempt + 1 < web.ODD_ANSWERS:
                log.info(f"{problem}; asking again")
                time.sleep(web.BACKOFF_SECONDS * 2**attempt)
        log.info(problem)
        problems.append(problem)
    if cut_off is not None:
        return cut_off
    raise web.FetchError("; ".join(problems))


def _problem(received: web.Received, text: str) -> str:
    """What the server sent if that is no whole text, else ""."""
    if web.is_web_page(received.headers, received.content[:1000]):
        return "a web page instead of the text"
    if "\0" in text[:1000]:
        return "something else than text"
    if not text.strip():
        return "nothing"
    return CUT_OFF if is_cut_off(text) else ""


def decode(body: bytes, declared: str = "") -> tuple[str, str]:
    """Decode a book by its declared charset, unless the bytes show that it is another one.

    Bytes beyond ASCII that are valid UTF-8 are UTF-8, whatever was declared; a few broken characters among many
    good ones become U+FFFD. Else the declared charset is tried, then the one that the book itself names, then
    Windows-1252, and at last ISO-8859-1, which fits anything. UTF-16 and UTF-32 show before all of that.

    Returns:
        The text with LF line ends, and the charset used.
    """
    text = body.decode("utf-8-sig", errors="replace")
    broken, used = text.count("\ufffd"), "utf-8"
    wide = wide_encoding(body[:START_BYTES], sure=not broken)
    if found := _try_charset(body, wide):
        text, used = found
        text = text.removeprefix("\ufeff")
    elif broken and broken * 10 < len(text) - len(text.encode("ascii", "ignore")):
        used = "utf-8 with broken characters"
    elif broken:
        named = re.search(rb"(?i)character set encoding:\s*([\w-]+)", body[:5000])
        charsets = [declared, named[1].decode() if named else "", "cp1252"]
        tried = filter(None, (_try_charset(body, charset) for charset in charsets))
        text, used = next(tried, (body.decode("iso8859-1"), "iso8859-1"))
    return text.replace("\r\n", "\n").replace("\r", "\n"), used


def _try_charset(body: bytes, charset: str) -> tuple[str, str] | None:
    try:
        name = codecs.lookup(charset).name
        if name == "iso8859-1" and re.search(rb"[\x80-\x9f]", body):
            return None  # control characters there; quotes and dashes in Windows-1252, which people call ISO-8859-1
        return body.decode(name), name
    except (LookupError, ValueError):  # ValueError: also of a charset that is none, such as idna
        return None


def _addresses(selection: str | Path, gutenberg_id: int) -> list[tuple[str, str]]:
    """Address and charset of the texts of a book, the best first."""
    with (
        reading(selection, "a table of books", "Delete it; `python -m minlm.scripts.selection` writes it."),
        open(selection, encoding="utf-8", newline="") as file,
    ):
        for row in csv.DictReader(file):
            if row["gutenberg_id"] == str(gutenberg_id) and row["text_url"]:
                others = [text.partition(" ")[::2] for text in row["other_texts"].split("; ") if text]
                return [(row["text_url"], row["charset"]), *others]
    raise MinlmError(f"book {gutenberg_id} has no text in {selection}; check the number, or include it by id")
