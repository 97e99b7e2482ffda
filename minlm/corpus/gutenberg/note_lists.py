"""Lists of notes: the paragraphs after a heading such as `FOOTNOTES` or `NOTES TO BOOK I`."""

import itertools
import re
from dataclasses import dataclass

from minlm.corpus.gutenberg.cutting import Span

HEADING = re.compile(
    r"\W*(?:(?:FOOT|END)?-?NOTES?\b[^.]{0,60}|(?i:(?:foot|end)?-?notes)(?i: (?:to|on|for) .{1,40})?)\W*", re.S
)
END_MATTER = re.compile(
    r"\W*(?:(?:GENERAL|SELECT) )?(?:INDEX|GLOSSARY|APPENDI(?:X|CES)|BIBLIOGRAPHY|VOCABULARY|THE END|FINIS)\b.{0,60}"
)
DIVISION = re.compile(r"\W*(?:THE )?(?:BOOK|CHAPTER|CANTO|PART|VOLUME|ACT|PREFACE|INTRODUCTION)\b.{0,80}", re.I)
# An entry begins with a number, a place (`P. 5, l. 104`), a label in brackets, or words quoted from the work.
ENTRY = re.compile(
    r"[\W_]*(?:\d|(?:pages?|pp?|lines?|ll?|verses?|vv?|ver|chap|ch|sect)\b\.?,? *\d|(?:foot|end)?note\b|[ivxlc]+\.)"
    r"|[\[{*†‡]|(?-i:[IVXLC]{2,7}\b|BOOK [IVXLC]+\b)|[\"“'‘][^\"”\n]{1,60}[\"”'’][ ,.:;(]",
    re.I,
)
PLACE = re.compile(r"[\W_]*(?:pages?|pp?|lines?|ll?|verses?|vv?)\b\.?,? *\d", re.I)
NUMBERED = re.compile(r" *(\d{1,4})\.? +(?!\[)")
COUNTING = 0.8  # of the entries
MANY = 10  # entries that refer to places, if the list is not at the end
LONGEST_ENTRY = 12  # paragraphs
LONGEST_LAST_ENTRY = 3  # paragraphs, if the work goes on after it


@dataclass(frozen=True)
class NoteList:
    """A list of notes: the indices of its heading and of the paragraph after it, and the number of its entries."""

    heading: int
    end: int
    entries: int
    is_final: bool  # at most an index or the like follows

    def __contains__(self, paragraph: int) -> bool:
        return self.heading < paragraph < self.end


def find_lists(text: str, paragraphs: list[Span]) -> list[NoteList]:
    """Find the lists of notes, in order."""
    lists: list[NoteList] = []
    for i, (start, end) in enumerate(paragraphs):
        if end - start <= 160 and HEADING.fullmatch(text[start:end].strip()) and not (lists and i < lists[-1].end):
            lists.append(_read_list(text, paragraphs, i))
    return [found for found in lists if found.entries]


def _read_list(text: str, paragraphs: list[Span], heading: int) -> NoteList:
    """Read a list to the next heading, unless entries like the ones before it follow; or to the end of the text."""
    styles: set[str] = set()
    last, entries, i = heading, 0, heading + 1
    is_final = True
    while i < len(paragraphs) and i - last <= LONGEST_ENTRY:
        paragraph = _start_of(text, paragraphs[i])
        if END_MATTER.fullmatch(paragraph):
            break
        following = {_style(_start_of(text, span)) for span in paragraphs[i + 1 : i + 4]}
        if HEADING.fullmatch(paragraph) or (_is_heading(paragraph) and styles and not following & styles):
            is_final = False
            break
        if _style(paragraph):
            styles.add(_style(paragraph))
            entries, last = entries + 1, i
        i += 1
    else:
        is_final = i == len(paragraphs)
    if i - last > (LONGEST_ENTRY if is_final else LONGEST_LAST_ENTRY):
        i = last + 1
    return NoteList(heading, i, entries, is_final)


def _start_of(text: str, span: Span) -> str:
    """The start of a paragraph, long enough to tell what it is."""
    return text[span[0] : min(span[1], span[0] + 160)].strip()


def _is_heading(paragraph: str) -> bool:
    if "\n" in paragraph or re.fullmatch(r"[\dIVXLC. ]+", paragraph):
        return False
    return paragraph.isupper() or DIVISION.fullmatch(paragraph) is not None


def _style(paragraph: str) -> str:
    """How an entry begins: `[0]`, `0. `, or `a` for letters. "" if it is not an entry."""
    if not ENTRY.match(paragraph):
        return ""
    beginning = re.match(r"[\W\d_]*", paragraph)
    return re.sub(r"\d+", "0", beginning[0])[:4] if beginning and beginning[0] else "a"


def without_marks(text: str, paragraphs: list[Span], lists: list[NoteList]) -> list[Span]:
    """The lists that consist of entries and are at the end of a book or refer to places, with or without marks.

    Entries that count 1, 2, 3 refer to no place. Without marks they are rather the work's own.
    """
    spans = []
    for found in lists:
        inside = paragraphs[found.heading + 1 : found.end]
        start, size = paragraphs[found.heading][0], len(inside)
        places = sum(bool(PLACE.match(text, *span)) for span in inside)
        numbers = [int(match[1]) for span in inside if (match := NUMBERED.match(text, *span))]
        counting = sum(later == earlier + 1 for earlier, later in itertools.pairwise(numbers))
        is_last = found.is_final and start > len(text) / 2 and found.entries >= max(3, size / 2)
        if (is_last and counting < COUNTING * found.entries) or places >= max(MANY, size / 2):
            spans.append((start, paragraphs[found.end - 1][1]))
    return spans
