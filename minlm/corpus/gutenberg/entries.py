"""Catalog entries as a server sends them. An odd entry never stops the others; its problem is recorded in it."""

import json
import re
from collections.abc import Callable
from typing import Any

Book = dict[str, Any]  # a catalog entry with the field names of Gutendex; unknown values are None

MAX_DEPTH = 20  # of nested JSON; a catalog page has 5
MAX_DIGITS = 18  # of an integer


def parse_foreign_json(body: bytes) -> Any:
    """Parse JSON. Values nested deeper than `MAX_DEPTH` and integers longer than `MAX_DIGITS` may become None.

    Raises:
        ValueError: it is not JSON.
    """
    text = body.decode("utf-8-sig", errors="replace")
    try:
        return json.loads(text, parse_int=_parse_int)
    except RecursionError:
        return json.loads(_without_deep_values(text), parse_int=_parse_int)


def _parse_int(digits: str) -> int | None:
    return int(digits) if len(digits) <= MAX_DIGITS else None


def _without_deep_values(text: str) -> str:
    """Replace the values nested deeper than `MAX_DEPTH` in a JSON text with null."""
    kept, depth, start = [], 0, 0
    for match in re.finditer(r'"(?:[^"\\]++|\\.)*+"|[\[{]|[\]}]', text, re.S):
        if match[0] in "[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept.append(text[start : match.start()] + "null")
        elif match[0] in "]}":
            if depth == MAX_DEPTH + 1:
                start = match.end()
            depth -= 1
    if depth != 0:
        raise ValueError("a bracket is not closed")
    return "".join(kept) + text[start:]


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _are_people(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(person, dict)
        and isinstance(person.get("name"), str)
        and all(person.get(year) is None or _is_number(person[year]) for year in ("birth_year", "death_year"))
        for person in value
    )


_TEXT = (lambda value: isinstance(value, str)), "a text"
_TEXTS = _are_texts, "a list of texts"
_PEOPLE = _are_people, "a list of people with years"
FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {  # name → check of the value's type, name of that type
    "id": (_is_number, "a number"), "title": _TEXT, "authors": _PEOPLE, "translators": _PEOPLE, "languages": _TEXTS,
    "copyright": ((lambda value: isinstance(value, bool)), "true or false"), "media_type": _TEXT,
    "download_count": (_is_number, "a number"), "subjects": _TEXTS, "bookshelves": _TEXTS,
}  # fmt: skip


def has_id(entry: Any) -> bool:
    """Whether an entry is an object whose id can be a Project Gutenberg number."""
    return isinstance(entry, dict) and _is_number(entry.get("id")) and entry["id"] >= 0


def normalize(entry: dict[str, Any]) -> Book:
    """Keep the fields of an entry that are used. A value of the wrong type becomes None, and `problem` describes it."""
    book: Book = {}
    problems = [entry["problem"]] if isinstance(entry.get("problem"), str) else []
    for field, (is_valid, kind) in FIELDS.items():
        book[field] = entry.get(field)
        if book[field] is not None and not is_valid(book[field]):
            book[field] = None
            problems.append(f"{field} is not {kind}")
    for role in ("authors", "translators"):
        if book[role] is not None:
            book[role] = [
                {key: person.get(key) for key in ("name", "birth_year", "death_year")} for person in book[role]
            ]
    formats = entry.get("formats")
    if formats is not None and not isinstance(formats, dict):
        problems.append("formats is not an object")
        formats = None
    book["formats"] = {
        kind: url for kind, url in (formats or {}).items() if kind.startswith("text/plain") and isinstance(url, str)
    }
    if problems:
        book["problem"] = "; ".join(problems)
    # JSON allows unpaired surrogates, which UTF-8 cannot encode: they become "?".
    return json.loads(json.dumps(book, ensure_ascii=False).encode(errors="replace"))


def add(books: dict[int, Book], book: Book) -> bool:
    """Add a book by its id. An existing entry is replaced only if it has a problem and the new one has none.

    Returns:
        Whether the id is new.
    """
    existing = books.get(book["id"])
    if existing is None or ("problem" in existing and "problem" not in book):
        books[book["id"]] = book
    return existing is None
