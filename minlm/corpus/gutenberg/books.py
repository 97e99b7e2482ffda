"""Fetching one book from Project Gutenberg and decoding its text."""

import codecs
import csv
import functools
import re
from pathlib import Path

from minlm.atomic import atomic_write
from minlm.corpus import web
from minlm.corpus.gutenberg.boilerplate import lacks_end_marker
from minlm.encodings import START_BYTES, wide_encoding
from minlm.errors import MinlmError
from minlm.progress import log
from minlm.reading import reading

MAX_BOOK_BYTES = 64_000_000  # uncompressed; the Bible takes 4 MB


def fetch_book(selection: str | Path, gutenberg_id: int, output: str | Path, request_delay: float) -> str:
    """Fetch a selected book and write it as UTF-8.

    An answer that is not text is requested again; then the other plain texts of the book are tried. If none is usable,
    the output is an empty file, and `failed/ID.txt` beside its folder states the reasons. So the other books can
    continue, and `build_ancients` decides whether enough of them are there. Delete the empty file to try again.

    Returns:
        The result in words, for the log.

    Raises:
        MinlmError: the book is not selected, or the server cannot be reached.
    """
    output = Path(output)
    failure = output.parent.with_name("failed") / f"{gutenberg_id}.txt"
    addresses = _addresses(selection, gutenberg_id)
    try:
        text, result = _fetch_text(addresses, web.Pace(request_delay, Path(selection).with_name(web.PACE_FILE)))
    except web.FetchError as error:
        with atomic_write(failure) as out:
            out.write(f"{error}\n")
        with atomic_write(output):
            pass
        return f"failed, see {failure}: {error}"
    with atomic_write(output) as out:
        out.write(text)
    failure.unlink(missing_ok=True)
    return result


def _fetch_text(addresses: list[tuple[str, str]], pace: web.Pace) -> tuple[str, str]:
    """Fetch the first good text among (address, charset). Returns it with a description.

    A text without the end marker is used only if no other has one, because a few complete books lack it.
    """
    problems: list[str] = []
    incomplete: list[tuple[str, str]] = []
    with web.make_session(pace) as session:
        for url, charset in addresses:
            try:
                parse = functools.partial(_parse_text, charset, incomplete)
                return web.fetch_parsed(session, url, parse, MAX_BOOK_BYTES)
            except web.FetchError as error:
                log.info(str(error))
                problems.append(str(error))
    if incomplete:
        return incomplete[-1]
    raise web.FetchError("; ".join(problems))


def _parse_text(charset: str, incomplete: list[tuple[str, str]], answer: web.Answer) -> tuple[str, str]:
    """Decode an answer; returns the text with a description. A text without the end marker goes to `incomplete`.

    Raises:
        web.UnexpectedAnswer: the answer is not a complete text.
    """
    text, used = decode(answer.content, charset)
    description = f"{len(answer.content):,} bytes of {used} from {answer.url}"
    if web.is_web_page(answer.headers, answer.content[:1000]):
        problem = "a web page instead of the text"
    elif "\0" in text[:1000]:
        problem = "something other than text"
    elif not text.strip():
        problem = "nothing"
    elif lacks_end_marker(text):
        incomplete.append((text, f"{description}, but it seems to be cut off: the end marker is missing"))
        problem = "a text without its end"
    else:
        return text, description
    raise web.UnexpectedAnswer(f"{answer.url}: the server sent {problem}")


def decode(body: bytes, declared: str = "") -> tuple[str, str]:
    """Decode a book with its declared charset, unless the bytes show that another one is right.

    UTF-16 and UTF-32 are recognized first. Bytes beyond ASCII that are valid UTF-8 are UTF-8, whatever was declared;
    a few invalid bytes among many valid characters become U+FFFD. Otherwise these charsets are tried: the declared
    one, the one that the book names, Windows-1252, and finally ISO-8859-1, which can decode any bytes.

    Returns:
        The text with LF line ends, and the charset used.
    """
    text = body.decode("utf-8-sig", errors="replace")
    invalid, used = text.count("\ufffd"), "utf-8"
    wide = wide_encoding(body[:START_BYTES], is_utf8=not invalid)
    if found := _try_charset(body, wide):
        text, used = found
        text = text.removeprefix("\ufeff")
    elif invalid and invalid * 10 < len(text) - len(text.encode("ascii", "ignore")):
        used = "utf-8 with invalid bytes"
    elif invalid:
        named = re.search(rb"(?i)character set encoding:\s*([\w-]+)", body[:5000])
        charsets = [declared, named[1].decode() if named else "", "cp1252"]
        tried = filter(None, (_try_charset(body, charset) for charset in charsets))
        text, used = next(tried, (body.decode("iso8859-1"), "iso8859-1"))
    return text.replace("\r\n", "\n").replace("\r", "\n"), used


def _try_charset(body: bytes, charset: str) -> tuple[str, str] | None:
    try:
        name = codecs.lookup(charset).name
        if name == "iso8859-1" and re.search(rb"[\x80-\x9f]", body):
            return None  # these are control characters, but quotes and dashes in Windows-1252: a common confusion
        return body.decode(name), name
    except (LookupError, ValueError):  # ValueError also comes from codecs that are not charsets, such as idna
        return None


def _addresses(selection: str | Path, gutenberg_id: int) -> list[tuple[str, str]]:
    """Address and charset of each text of a book, best first."""
    with (
        reading(selection, "a table of books", "Delete it; `python -m minlm.scripts.selection` writes it."),
        open(selection, encoding="utf-8", newline="") as file,
    ):
        for row in csv.DictReader(file):
            if row["gutenberg_id"] == str(gutenberg_id) and row["text_url"]:
                others = [text.partition(" ")[::2] for text in row["other_texts"].split("; ") if text]
                return [(row["text_url"], row["charset"]), *others]
    raise MinlmError(f"book {gutenberg_id} has no text in {selection}; check the number, or include it by id")
