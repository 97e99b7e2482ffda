"""Removing lists of what a book contains: tables of contents, lists of illustrations, an index."""

import itertools
import re

from minlm.corpus.gutenberg.divisions import NUMBERED

MANY = 4  # lines in a row that are headings: a table of contents
_HEADING = re.compile(
    r"\W*(?:(?:the |table of |general )?contents(?: (?:of|to) .{1,40})?|(?:list of )?(?:illustrations|plates|maps))\W*",
    re.I,
)
_ENTRY = re.compile(rf" *{NUMBERED}\b.*")
_NUMBER = re.compile(r"(?:\d|\b[ivxlc]+)\.?$")
_PAGE = re.compile(r"(?:[ .]{2,}|, *)(?:\d+|[ivxlc]+)\.?$")


def remove_contents(text: str) -> tuple[str, int]:
    """Remove tables of contents and lists of illustrations in the first fifth of the text. Counts lines.

    A list begins with a heading such as `CONTENTS`, or consists of headings. It ends before a line that it already
    contains (the first heading of the text), before prose, or at a gap of three blank lines. A "list" of fewer than
    three lines stays.
    """
    lines = text.split("\n")
    kept: list[str] = []
    removed = i = 0
    while i < len(lines) and len(kept) < (len(kept) + len(lines) - i) // 5 + 200:
        end = _end_of_contents(lines, i + 1) if _HEADING.fullmatch(lines[i]) else _end_of_headings(lines, i)
        if end is None:
            break  # nor do later lists end
        entries = sum(1 for line in lines[i + 1 : end] if line.strip())
        if entries >= MANY - 1:
            removed += entries + 1
            i = end
        else:
            kept.append(lines[i])
            i += 1
    return "\n".join([*kept, *lines[i:]]), removed


def _end_of_contents(lines: list[str], start: int) -> int | None:
    """The index of the line after a list. None: only short lines follow, so it is not a table of contents."""
    seen: set[str] = set()
    blank = 0
    for i in range(start, len(lines)):
        line = lines[i]
        if not line.strip():
            blank += 1
            continue
        entry = re.sub(r"[\W\d_]+", " ", line).strip().casefold()
        has_page = _NUMBER.search(line) or any(_PAGE.search(later) for later in _rest_of_entry(lines, i))
        is_prose = len(line.strip()) > 60 and not has_page
        if (seen and blank >= 3) or (blank and entry in seen) or is_prose:
            return i
        seen.add(entry or line)
        blank = 0
    return None


def _rest_of_entry(lines: list[str], i: int) -> list[str]:
    """At most two lines after a line, in the same paragraph: an entry is not longer."""
    return list(itertools.takewhile(str.strip, lines[i + 1 : i + 3]))


def _end_of_headings(lines: list[str], start: int) -> int:
    """The index of the line after a list of headings that has no heading itself, or `start` if none begins there."""
    end, count = start, 0
    for i in range(start, len(lines)):
        if _ENTRY.fullmatch(lines[i]) and len(lines[i]) <= 80:
            end, count = i + 1, count + 1
        elif lines[i].strip() or i - end >= 2:
            break
    return end if count >= MANY else start


def remove_index(text: str) -> tuple[str, int]:
    """Remove an index at the end: a heading, then mostly lines with page numbers. Counts lines."""
    heading = re.compile(r" *(?:general )?index\b.{0,30}", re.I)
    start = cut = len(text)
    removed = following = with_numbers = 0  # following: lines after the current one that are not blank
    for line in reversed(text.split("\n")):
        start -= len(line)
        if start <= 0.5 * len(text):
            break
        if heading.fullmatch(line) and following >= 5 and with_numbers > 0.6 * following:
            cut, removed = start, following + 1
        if line.strip():
            following += 1
            with_numbers += bool(re.search(r"\d", line))
        start -= 1  # the line feed before it
    return (text[:cut].rstrip("\n") + "\n", removed) if removed else (text, 0)
