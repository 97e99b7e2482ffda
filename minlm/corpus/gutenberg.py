"""Fetching one book from Project Gutenberg, and finding out how its bytes spell text."""

import codecs
import csv
import re
from pathlib import Path

from minlm.corpus import web
from minlm.corpus.gutendex import pace_file
from minlm.errors import MinlmError
from minlm.files import atomic_write


def fetch_book(selection: str | Path, gutenberg_id: int, output: str | Path, request_delay: float) -> str:
    """Fetch a book of the selection and write it as UTF-8.

    If the server gives no usable text, however often it is asked, the output is empty and the reason is in
    `failed/ID.txt` beside the folder of the output; the other books go on, and `build` decides whether enough
    of them came. Delete the empty file to try again.

    Returns:
        What happened, for the log.

    Raises:
        MinlmError: the book is not selected, or the server cannot be reached at all.
    """
    output = Path(output)
    record = output.parent.with_name("failed") / f"{gutenberg_id}.txt"
    url, charset = _address(selection, gutenberg_id)
    try:
        with web.make_session(web.Pace(request_delay, pace_file(selection))) as session:
            response = web.fetch(session, url)
        body = response.content
        if web.is_web_page(response, body[:1000]):
            raise web.FetchError(f"{url}: the server sent a web page instead of the text")
        if b"\0" in body[:1000] or not body.strip():
            raise web.FetchError(f"{url}: the server sent {'something else than text' if body.strip() else 'nothing'}")
    except web.FetchError as error:
        with atomic_write(record) as out:
            out.write(f"{error}\n")
        with atomic_write(output):
            pass
        return f"failed, and was recorded in {record}: {error}"
    text, used = decode(body, charset)
    with atomic_write(output) as out:
        out.write(text)
    record.unlink(missing_ok=True)
    return f"{len(body):,} bytes of {used} from {url}"


def decode(body: bytes, declared: str = "") -> tuple[str, str]:
    """Decode a book by its declared charset, unless the bytes show that it is another one.

    Bytes beyond ASCII that are valid UTF-8 are UTF-8, whatever was declared; a few broken characters among many
    good ones become U+FFFD. Else the declared charset is tried, then the one that the book itself names, then
    Windows-1252, and at last ISO-8859-1, which fits anything.

    Returns:
        The text with LF line ends, and the charset used.
    """
    text = body.decode("utf-8-sig", errors="replace")
    broken, used = text.count("\ufffd"), "utf-8"
    if broken and broken * 10 < len(re.findall(r"[^\x00-\x7f]", text)):
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
    except (LookupError, UnicodeDecodeError):
        return None


def _address(selection: str | Path, gutenberg_id: int) -> tuple[str, str]:
    with open(selection, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["gutenberg_id"] == str(gutenberg_id) and row["text_url"]:
                return row["text_url"], row["charset"]
    raise MinlmError(f"book {gutenberg_id} has no text in {selection}; check the number, or include it by id")
