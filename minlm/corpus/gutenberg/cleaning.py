"""Cleaning a Project Gutenberg book, so that only the work itself remains.

Each step is a function that takes a text and returns it with a count of what it removed or changed. `clean_book` runs
the steps in order. All take time proportional to the length of the text.
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from minlm.atomic import atomic_write
from minlm.corpus.gutenberg.boilerplate import (
    cut_header_and_footer,
    cut_out,
    remove_license,
    remove_transcribers_notes,
)
from minlm.corpus.gutenberg.reflow import reflow
from minlm.documents import without_separator
from minlm.progress import log
from minlm.reading import reading

Step = Callable[[str], tuple[str, int]]

NUMERAL = (
    r"(?:[IVXLC]+|\d+|(?:THE )?(?:FIRST|SECOND|THIRD|FOURTH|FIFTH|SIXTH|SEVENTH|EIGHTH|NINTH|TENTH|ELEVENTH|TWELFTH))"
)
DIVISION = (
    r"(?:BOOK|CHAPTER|CHAP\.|CANTO|PART|SECTION|VOLUME|VOL\.|ACT|SCENE|LETTER|EPISTLE|ODE|HYMN|FABLE|ELEGY|SATIRE)"
)
HEADING = re.compile(
    rf"(?i:{DIVISION} *{NUMERAL}|{NUMERAL} *{DIVISION})(?:[.:]?|[.:—-].{{0,60}})|(?:[IVXLC]+|\d+)[.:]?"
    r"|(?i:(?:THE )?(?:ARGUMENT|PREFACE|INTRODUCTION|CONTENTS|(?:FOOT)?NOTES|APPENDIX|GLOSSARY|(?:PRO|EPI)LOGUE)[.:]?)"
)
MAX_TITLE_PARAGRAPHS = 16


def clean_book(text: str, light: bool = False, keep_typography: bool = False) -> tuple[str, dict[str, int]]:
    """Clean one book.

    Args:
        text: the book as fetched.
        light: only remove header and footer, and normalize white space. Lines stay as they are.
        keep_typography: keep curly quotes and long dashes.

    Returns:
        The cleaned text, and the count of each step by its name.
    """
    steps: list[tuple[str, Step]] = [("odd spaces", normalize_spaces), ("header and footer", cut_header_and_footer)]
    if not light:
        steps += [
            ("transcriber's notes", remove_transcribers_notes),
            ("license paragraphs", remove_license),
            ("illustrations", remove_illustrations),
            ("footnotes", remove_footnotes),
            ("footnote marks", remove_footnote_marks),
            ("page numbers", remove_page_numbers),
            ("lines of contents", remove_contents),
            ("lines of index", remove_index),
            ("headings", remove_headings),
            ("lines of title page", remove_title_page),
            ("ornaments", remove_ornaments),
            ("emphasis marks", remove_emphasis),
            ("lines joined", reflow),
        ]
        if not keep_typography:
            steps.append(("typographic characters", to_ascii_typography))
    counts = {}
    for name, step in steps:
        text, counts[name] = step(text)
    text = without_separator(text)
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n"), counts


def clean_file(
    source: str | Path, output: str | Path, light: bool = False, keep_typography: bool = False
) -> tuple[int, dict[str, int]]:
    """Clean the book in `source`. An empty book stays empty.

    Returns:
        The number of words in the result, and the counts of `clean_book`.

    Raises:
        MinlmError: the file is not UTF-8.
    """
    with reading(source, "UTF-8 text", "Delete it to fetch it again."):
        text = Path(source).read_bytes().decode()
    cleaned, counts = clean_book(text, light, keep_typography)
    if text.strip() and counts["header and footer"] < 2:
        log.info(f"{source}: only {counts['header and footer']} of Project Gutenberg's 2 markers found")
    with atomic_write(output) as out:
        out.write(cleaned + "\n" if cleaned else "")
    return len(re.findall(r"\w+", cleaned)), counts


def normalize_spaces(text: str) -> tuple[str, int]:
    """Normalize line ends to LF and white space to plain spaces; remove trailing spaces and invisible characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text, invisible = re.subn("[\ufeff\u00ad\u200b-\u200d\u2060]", "", text)
    text, odd = re.subn("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\t\v]", " ", text)
    text, breaks = re.subn("[\f\u0085\u2028\u2029]", "\n", text)
    return re.sub(r"(?<! ) +$", "", text, flags=re.M), invisible + odd + breaks


def remove_illustrations(text: str) -> tuple[str, int]:
    """Remove `[Illustration …]`, and its caption if the next line repeats it."""
    label = r"(?<! ) *\[(?:illustrations?|image|map|plate)\b[:.]? *"
    pattern = label + r"((?:[^\[\]]|\[[^\[\]]*\])*)\](?:\s{0,99}\n *\1 *(?=\n))?"
    return cut_out(re.compile(pattern, re.I), text)


def remove_footnotes(text: str) -> tuple[str, int]:
    """Remove blocks `[Footnote …]`, which may span several paragraphs."""
    return cut_out(re.compile(r"(?<! ) *\[(?:foot)?note\b(?:[^\[\]]|\[[^\[\]]*\])*\]", re.I), text)


def remove_footnote_marks(text: str) -> tuple[str, int]:
    """Remove `[12]`, `[*]`, `[A]` and, directly after a word or its punctuation, `(12)` and `{12}`."""
    text, brackets = re.subn(r" ?\[(?:\d{1,4}[a-z]?|[*†‡§]+|[A-Z])\](?!\w)", "", text)
    text, glued = re.subn(r"(?<=[^\s\d(\[{])[({]\d{1,3}[)}](?!\w)", "", text)
    return text, brackets + glued


def remove_page_numbers(text: str) -> tuple[str, int]:
    """Remove `[Pg 12]`, `{p. 12}` and lines like `- 12 -`, and bare numbers if they increase through the text."""
    text, marked = cut_out(re.compile(r" ?[\[{](?:pages?|pg|pp?)\b\.? *(?:\d+|[ivxlc]+)[\]}]", re.I), text)
    text, dashed = cut_out(re.compile(r"^ *(?:-+ *\d{1,4} *-+|page \d{1,4}|\{\d{1,4}\}) *$", re.I | re.M), text)
    bare = re.compile(r"(?<=\n\n) *(\d{1,4}) *(?=\n\n)")
    numbers = [int(number) for number in bare.findall(text)]
    rising = sum(later > earlier for earlier, later in itertools.pairwise(numbers))
    bares = 0
    if len(numbers) >= 10 and rising > 0.9 * (len(numbers) - 1):
        text, bares = cut_out(bare, text)
    return text, marked + dashed + bares


def remove_contents(text: str) -> tuple[str, int]:
    """Remove tables of contents and lists of illustrations in the first fifth of the text. Counts lines.

    A list ends before a line that it already contains (the first heading of the text), before prose, or at a gap of
    three blank lines. A "list" of fewer than three lines stays.
    """
    lines = text.split("\n")
    heading = re.compile(r"\W*(?:table of )?(?:contents|(?:list of )?illustrations)\W*", re.I)
    kept: list[str] = []
    removed = i = 0
    while i < len(lines) and len(kept) < (len(kept) + len(lines) - i) // 5 + 200:
        end = _end_of_contents(lines, i + 1) if heading.fullmatch(lines[i]) else i
        if end is None:
            break  # nor do later lists end
        entries = sum(1 for line in lines[i + 1 : end] if line.strip())
        if entries >= 3:
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
        is_prose = len(line.strip()) > 60 and not re.search(r"(?:\d|\b[ivxlc]+)\.?$", line)
        if (seen and blank >= 3) or (blank and entry in seen) or is_prose:
            return i
        seen.add(entry or line)
        blank = 0
    return None


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


def remove_headings(text: str) -> tuple[str, int]:
    """Remove paragraphs that are headings: `BOOK IV`, `XXIV.`, and lines in capitals.

    A line in capitals that occurs three times or more names a speaker, and stays.
    """
    paragraphs = re.split(r"(\n\s*\n)", text)
    occurrences = Counter(paragraph.strip() for paragraph in paragraphs)

    def is_heading(paragraph: str) -> bool:
        line = paragraph.strip()
        if not line or "\n" in line or len(line) > 80:
            return False
        if HEADING.fullmatch(line):
            return True
        return line.isupper() and occurrences[line] < 3 and not line.endswith(":") and len(line) > 3

    kept = [paragraph for paragraph in paragraphs if not is_heading(paragraph)]
    return "".join(kept), len(paragraphs) - len(kept)


def remove_title_page(text: str) -> tuple[str, int]:
    """Remove the short paragraphs before the first long one: title, author, translator, place, year.

    They stay if there are many of them, or if one contains a question mark, exclamation mark or colon.
    """
    paragraphs = text.strip("\n").split("\n\n")
    for count, paragraph in enumerate(paragraphs[:MAX_TITLE_PARAGRAPHS]):
        if len(paragraph.split()) >= 15:
            return "\n\n".join(paragraphs[count:]) + "\n", count
        if re.search(r"[?!:]", paragraph):
            break
    return text, 0


def remove_ornaments(text: str) -> tuple[str, int]:
    """Remove lines without a letter or digit, such as `* * *`."""
    return re.subn(r"^ *[^\w\s](?:[^\w\n])*$", "", text, flags=re.M)


def remove_emphasis(text: str) -> tuple[str, int]:
    """Turn `_emphasis_` and `=bold=` into plain words."""
    text, italic = re.subn(r"(?<!\w)_(?=\S)([^_]{1,500}?)(?<=\S)_(?!\w)", r"\1", text)
    text, bold = re.subn(r"(?<!\w)=(?=\S)([^=\n]{1,200}?)(?<=\S)=(?!\w)", r"\1", text)
    return text, italic + bold


_ASCII = str.maketrans(
    {"‘": "'", "’": "'", "‚": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "‟": '"', "«": '"', "»": '"',
     "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "--", "―": "--", "−": "-", "…": "...", "′": "'", "″": '"'}
)  # fmt: skip


def to_ascii_typography(text: str) -> tuple[str, int]:
    """Write quotes, dashes and ellipses in ASCII; letters keep their accents."""
    changed = sum(text.count(chr(char)) for char in _ASCII)
    return text.translate(_ASCII), changed
