"""Cleaning a Project Gutenberg book, so that only the work itself remains.

Each step is a function that takes a text and returns it with a count of what it removed or changed. `clean_book` runs
the steps in order. All take time proportional to the length of the text.
"""

import re
from collections.abc import Callable
from pathlib import Path

from minlm.atomic import atomic_write
from minlm.corpus.gutenberg.boilerplate import (
    cut_header_and_footer,
    remove_license,
    remove_transcribers_notes,
)
from minlm.corpus.gutenberg.contents import remove_contents, remove_index
from minlm.corpus.gutenberg.cutting import cut_out
from minlm.corpus.gutenberg.headings import remove_headings, remove_title_page
from minlm.corpus.gutenberg.notes import remove_marks_without_notes, remove_notes
from minlm.corpus.gutenberg.numbers import remove_line_numbers, remove_page_numbers
from minlm.corpus.gutenberg.reflow import reflow
from minlm.corpus.gutenberg.speakers import separate_speeches
from minlm.documents import without_separator
from minlm.progress import log
from minlm.reading import reading

Step = Callable[[str], tuple[str, int]]


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
            ("lines of contents", remove_contents),
            ("line numbers", remove_line_numbers),
            ("notes", remove_notes),
            ("page numbers", remove_page_numbers),
            ("marks without notes", remove_marks_without_notes),
            ("lines of index", remove_index),
            ("ornaments", remove_ornaments),
            ("paragraphs of title page", remove_title_page),
            ("speeches separated", separate_speeches),
            ("headings", remove_headings),
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


def remove_ornaments(text: str) -> tuple[str, int]:
    """Remove lines without a letter or digit, such as `* * *`."""
    return re.subn(r"^ *[^\w\s](?:[^\w\n])*$", "", text, flags=re.M)


def remove_emphasis(text: str) -> tuple[str, int]:
    """Turn `_emphasis_` and `=bold=` into plain words. If there is any, single marks go, too."""
    text, italic = re.subn(r"(?<!\w)_(?=\S)([^_]{1,500}?)(?<=\S)_(?!\w)", r"\1", text)
    if italic:
        text, single = re.subn(r"(?<![\w_])_(?=[^\W_])|(?<=[^\s_])_(?![\w_])", "", text)
        italic += single
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
