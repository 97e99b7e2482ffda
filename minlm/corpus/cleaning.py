"""Cleaning a Project Gutenberg book: what remains is the work itself.

Each step is a pure function from text to (text, how much it removed or changed), so that each can be read, tested
and counted by itself; `clean_book` runs them one after the other. Texts have LF line ends throughout.
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from minlm.atomic import atomic_write
from minlm.corpus.gutenberg_frame import cut_header_and_footer, cut_out, remove_license, remove_transcribers_notes
from minlm.corpus.reflow import reflow
from minlm.documents import without_separator
from minlm.errors import MinlmError
from minlm.progress import log

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
MOST_OF_TITLE_PAGE = 16  # paragraphs


def clean_book(text: str, light: bool = False, keep_typography: bool = False) -> tuple[str, dict[str, int]]:
    """Clean one book.

    Args:
        text: the book as it was fetched.
        light: remove only header and footer, and normalize white space; lines stay as they are.
        keep_typography: leave curly quotes and long dashes.

    Returns:
        The cleaned text, and what was done: step → count.
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
    """Clean the book in `source`; returns its words and what `clean_book` did. An empty book stays empty.

    Raises:
        MinlmError: the file is not UTF-8.
    """
    try:
        text = Path(source).read_bytes().decode()
    except UnicodeDecodeError as error:
        raise MinlmError(f"{source} is not UTF-8 at byte offset {error.start}; delete it to fetch it again") from error
    cleaned, counts = clean_book(text, light, keep_typography)
    if text.strip() and counts["header and footer"] < 2:
        log.info(f"{source}: {counts['header and footer']} of Project Gutenberg's 2 markers found; nothing cut there")
    with atomic_write(output) as out:
        out.write(cleaned + "\n" if cleaned else "")
    return len(re.findall(r"\w+", cleaned)), counts


def normalize_spaces(text: str) -> tuple[str, int]:
    """LF line ends, plain spaces, none at the ends of lines, no byte order mark or invisible characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text, invisible = re.subn("[\ufeff\u00ad\u200b-\u200d\u2060]", "", text)
    text, odd = re.subn("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\t\v]", " ", text)
    text, breaks = re.subn("[\f\u0085\u2028\u2029]", "\n", text)
    return re.sub(r" +$", "", text, flags=re.M), invisible + odd + breaks


def remove_illustrations(text: str) -> tuple[str, int]:
    """Remove `[Illustration …]`, and its caption where the next line repeats it."""
    pattern = r" *\[(?:illustrations?|image|map|plate)\b[:.]? *((?:[^\[\]]|\[[^\[\]]*\])*)\](?:\s*\n *\1 *(?=\n))?"
    return cut_out(re.compile(pattern, re.I), text)


def remove_footnotes(text: str) -> tuple[str, int]:
    """Remove blocks `[Footnote …]`, which may run over several paragraphs."""
    return cut_out(re.compile(r" *\[(?:foot)?note\b(?:[^\[\]]|\[[^\[\]]*\])*\]", re.I), text)


def remove_footnote_marks(text: str) -> tuple[str, int]:
    """Remove `[12]`, `[*]`, `[A]` and, directly behind a word or its punctuation, `(12)` and `{12}`."""
    text, brackets = re.subn(r" ?\[(?:\d{1,4}[a-z]?|[*†‡§]+|[A-Z])\](?!\w)", "", text)
    text, glued = re.subn(r"(?<=[^\s\d(\[{])[({]\d{1,3}[)}](?!\w)", "", text)
    return text, brackets + glued


def remove_page_numbers(text: str) -> tuple[str, int]:
    """Remove `[Pg 12]`, `{p. 12}` and lines like `- 12 -`; bare numbers only if they count up through the text."""
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
    """Remove tables of contents and lists of illustrations in the first fifth of the text; counts lines.

    A list ends before a line that it has had already (the first heading of the text), before prose, or at a gap
    of three blank lines. A "list" of fewer than three lines is left alone.
    """
    lines = text.split("\n")
    heading = re.compile(r"\W*(?:table of )?(?:contents|(?:list of )?illustrations)\W*", re.I)
    removed = i = 0
    while i < len(lines) // 5 + 200 and i < len(lines):
        if heading.fullmatch(lines[i]):
            end = _end_of_contents(lines, i + 1)
            entries = sum(1 for line in lines[i + 1 : end] if line.strip())
            if entries >= 3:
                del lines[i:end]
                removed += entries + 1
                continue
        i += 1
    return "\n".join(lines), removed


def _end_of_contents(lines: list[str], start: int) -> int:
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
    return start  # nothing but short lines up to the end: that is no table of contents


def remove_index(text: str) -> tuple[str, int]:
    """Remove an index at the end: a heading, then mostly lines with page numbers. Counts lines."""
    for heading in re.finditer(r"^ *(?:general )?index\b.{0,30}$", text, re.I | re.M):
        rest = [line for line in text[heading.end() :].split("\n") if line.strip()]
        with_numbers = sum(1 for line in rest if re.search(r"\d", line))
        if heading.start() > 0.5 * len(text) and len(rest) >= 5 and with_numbers > 0.6 * len(rest):
            return text[: heading.start()].rstrip("\n") + "\n", len(rest) + 1
    return text, 0


def remove_headings(text: str) -> tuple[str, int]:
    """Remove headings that stand alone: `BOOK IV`, `XXIV.`, and lines in capitals.

    A line in capitals that comes three times or more names the speaker of what follows, and stays.
    """
    paragraphs = re.split(r"(\n\s*\n)", text)
    often = Counter(paragraph.strip() for paragraph in paragraphs)

    def is_heading(paragraph: str) -> bool:
        line = paragraph.strip()
        if not line or "\n" in line or len(line) > 80:
            return False
        if HEADING.fullmatch(line):
            return True
        return line.isupper() and often[line] < 3 and not line.endswith(":") and len(line) > 3

    kept = [paragraph for paragraph in paragraphs if not is_heading(paragraph)]
    return "".join(kept), len(paragraphs) - len(kept)


def remove_title_page(text: str) -> tuple[str, int]:
    """Remove the short paragraphs before the first long one: title, author, translator, place, year.

    Only if there are few of them, and none is a question, an exclamation or a speech.
    """
    paragraphs = text.strip("\n").split("\n\n")
    for count, paragraph in enumerate(paragraphs[:MOST_OF_TITLE_PAGE]):
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
