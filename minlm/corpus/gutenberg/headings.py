"""Removing headings and the title page. The names of speakers in a play look like headings, and stay."""

import re

from minlm.corpus.gutenberg.cutting import paragraph_spans
from minlm.corpus.gutenberg.divisions import HEADING, NUMBERED
from minlm.corpus.gutenberg.speakers import RECURRING, find_speakers

IMPRINT = re.compile(
    r"\b(?:london|new york|oxford|cambridge|boston|edinburgh|chicago|philadelphia|leipzig|press|(?:re)?print\w*"
    r"|publish\w*|impression|edition|copyright|translat\w+|edit(?:ed|or)|street|university|professor|college|volumes?"
    r"|1[5-9]\d\d)\b|& co\b",
    re.I,
)
LONGEST_LINE = 80
MAX_HEADING_LINES = 5
SHORT = 3  # letters of a line that may also be exclaimed
MAX_TITLE_PARAGRAPHS = 40
PROSE_WORDS = 15  # in a paragraph that is no part of a title page
SENTENCE = re.compile(r"(?=[^a-z]*[A-Z])(?=(?:\S+\s+){6})[\s\S]*[a-z]\W?[.!?]\W{0,3}")
CAST = re.compile(r"\W*(?:DRAMATIS PERSONAE|(?:THE )?(?:PERSONS|CHARACTERS)\b[^:\n]{0,40})\W*")


def remove_title_page(text: str) -> tuple[str, int]:
    """Remove the title, author, translator, publisher and year before the first heading or the first long paragraph.

    A paragraph that may be a line of the work ends the title page. Counts paragraphs.
    """
    end = count = 0  # of the title page
    for i, (start, stop) in enumerate(paragraph_spans(text)[:MAX_TITLE_PARAGRAPHS]):
        paragraph = text[start:stop].strip()
        is_imprint = _is_imprint(paragraph)
        is_prose = not is_imprint and (
            len(paragraph.split()) >= PROSE_WORDS or SENTENCE.fullmatch(paragraph) is not None
        )
        if is_prose or (HEADING.fullmatch(paragraph) and not re.match(r"VOL|\d{3}", paragraph, re.I)):
            return text[start:], i
        if CAST.fullmatch(paragraph):
            return text[stop:], i + 1
        if i > 0 and text.count(f"\n{paragraph}\n") >= RECURRING:
            break  # a speaker
        if paragraph.isupper() or is_imprint:
            end, count = stop, i + 1
        elif re.search(r"[?!:]", paragraph):
            break
    return text[end:], count


def _is_imprint(paragraph: str) -> bool:
    """Whether the short lines of a paragraph name a publisher, an edition, a place or a year."""
    lines = paragraph.replace("_", " ").split("\n")
    found = sum(bool(IMPRINT.search(line)) for line in lines)
    return all(len(line.strip()) <= 60 for line in lines) and found >= len(lines) / 3


def remove_headings(text: str) -> tuple[str, int]:
    """Remove headings: `BOOK IV`, `XXIV.`, and paragraphs of a few lines in capitals, but not the names of speakers."""
    parts = re.split(r"(\n\s*\n)", text)
    paragraphs, gaps = parts[::2], [0, *(gap.count("\n") for gap in parts[1::2])]
    speakers = find_speakers(paragraphs, gaps)
    headings = {i for i in range(len(paragraphs)) if i not in speakers and _is_heading(paragraphs, i)}
    for i, paragraph in enumerate(paragraphs):  # `THE` and `OF`
        is_short = paragraph.strip().isupper() and len(paragraph.strip()) <= SHORT
        if is_short and i not in speakers and {i - 1, i + 1} & headings:
            headings.add(i)
    count = len(headings)
    for i, paragraph in enumerate(paragraphs):
        first, _, rest = paragraph.lstrip("\n").partition("\n")
        if i in headings:
            parts[2 * i] = ""
        elif rest and i not in speakers and re.fullmatch(rf"{NUMBERED}[.:]?", first.strip()):
            parts[2 * i] = rest
            count += 1
    return "".join(parts), count


def _is_heading(paragraphs: list[str], i: int) -> bool:
    paragraph = paragraphs[i].strip()
    lines = [line.strip() for line in paragraph.split("\n")]
    if not paragraph or len(lines) > MAX_HEADING_LINES or max(map(len, lines)) > LONGEST_LINE:
        return False
    if HEADING.fullmatch(paragraph):
        return True
    if paragraph.isupper():
        is_quoted = i > 0 and paragraphs[i - 1].rstrip().endswith((":", ",", "--", "—"))  # an inscription
        return len(paragraph) > SHORT and not is_quoted and not paragraph.endswith(":")
    is_titled = len(lines) <= 3 and all(map(_is_title, lines[1:]))
    return is_titled and re.fullmatch(rf"{NUMBERED}[.:]?", lines[0]) is not None


def _is_title(line: str) -> bool:
    """Whether a line is short and most of its words begin with capitals, and no sentence ends in it."""
    words = re.findall(r"[^\W\d_]+", line)
    capitals = sum(word[0].isupper() for word in words)
    return len(line) <= 60 and capitals > len(words) / 2 and not line.endswith((".", ",", ";", "?", "!"))
