"""Joining the wrapped lines of prose into paragraphs, and keeping the lines of verse."""

import itertools
import re

from minlm.corpus.gutenberg.speakers import first_line

LONGEST_WORD = 100  # characters


def reflow(text: str) -> tuple[str, int]:
    """Join each prose paragraph into one line; keep the lines of verse, without indentation, and the names of speakers.

    Returns:
        The text with one blank line between paragraphs, and the number of line breaks removed.
    """
    lengths = sorted(len(line) for line in text.split("\n") if line.strip())
    width = lengths[int(0.95 * (len(lengths) - 1))] if lengths else 0
    words = set(re.findall(r"\w+(?:-\w+)*", text))
    paragraphs, joined = [], 0
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        speaker, _, speech = paragraph.partition("\n")
        has_speaker = bool(speech.strip()) and first_line(paragraph) is not None
        lines = [line for line in (speech if has_speaker else paragraph).split("\n") if line.strip()]
        if is_verse(lines, width):
            reflowed = "\n".join(line.strip() for line in lines)
        else:
            reflowed = join_lines(lines, words)
            joined += max(len(lines) - 1, 0)
        paragraphs.append(f"{speaker.strip()}\n{reflowed}" if has_speaker else reflowed)
    return "\n\n".join(filter(None, paragraphs)) + "\n", joined


def is_verse(lines: list[str], width: int) -> bool:
    """Whether the lines end where the author ended them, not where a line of `width` characters was full.

    A line is full if the first word of the next one would not have fit. Most lines of verse are not full, and begin
    with capitals.
    """
    if len(lines) < 2:
        return False
    full = _fraction_full(lines, width)
    capitals = sum(bool(re.match(r"\W*[A-Z]", line)) for line in lines[1:]) / (len(lines) - 1)
    if full >= 0.5:
        return capitals > 0.9 and len(lines) >= 5  # as long as lines of prose, but prose has fewer capitals
    if capitals >= 0.6:
        return True
    # Verse with lowercase line starts. Prose in narrower lines, such as a quotation, fills those lines.
    longest = max(map(len, lines))
    return longest < 0.75 * width and _fraction_full(lines, longest) < 0.8


def _fraction_full(lines: list[str], width: int) -> float:
    """The fraction of the lines, without the last one, to which the next word could not have been added."""
    full = [len(line) + 1 + len(following.split()[0]) > width for line, following in itertools.pairwise(lines)]
    return sum(full) / len(full)


def join_lines(lines: list[str], words: set[str]) -> str:
    """Join lines into one. `words` are all words of the text; they show which hyphens only divide a word."""
    pieces: list[str] = []
    end = ""  # the last `LONGEST_WORD` characters of the pieces
    for line in lines:
        line = " ".join(line.split())
        space = " "
        if not pieces or end.endswith(("--", "—")):
            space = ""
        elif broken := re.search(r"(\w+)-$", end):
            space = ""
            rest = re.match(r"\w*", line)
            second = rest[0] if rest else ""
            if second[:1].islower() and broken[1] + second in words and f"{broken[1]}-{second}" not in words:
                pieces[-1], end = pieces[-1][:-1], end[:-1]
        pieces.append(space + line)
        end = (end + space + line)[-LONGEST_WORD:]
    return "".join(pieces)
