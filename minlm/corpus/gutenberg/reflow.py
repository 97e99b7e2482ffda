"""Joining the wrapped lines of prose into paragraphs, and keeping the lines of verse."""

import itertools
import re

from minlm.corpus.gutenberg.speakers import first_line

LONGEST_WORD = 100  # characters
NARROWEST = 60  # characters of a full line of prose
LONGEST_TURNOVER = 30  # characters of the end of a line of verse that did not fit
SLACK = 4  # characters that a full line may lack, for example because the mark of a note was removed


def reflow(text: str) -> tuple[str, int]:
    """Join each prose paragraph into one line; keep the lines of verse, without indentation, and the names of speakers.

    Returns:
        The text with one blank line between paragraphs, and the number of line breaks removed.
    """
    all_lines = list(filter(str.strip, text.split("\n")))
    lengths = sorted(map(len, all_lines))
    width = max(lengths[int(0.95 * (len(lengths) - 1))] if lengths else 0, NARROWEST)
    words = set(re.findall(r"\w+(?:-\w+)*", text))
    blocks = [_split_block(block) for block in re.split(r"\n\s*\n", text.strip("\n"))]
    long = [lines for _, lines in blocks if len(lines) >= 3]
    stanzas = [lines for lines in long if is_verse(lines, width)]
    poetry = max(map(len, itertools.chain(*stanzas))) + SLACK if len(stanzas) > len(long) / 2 else 0
    is_indented = sum(line.startswith(" ") for line in all_lines) > 0.3 * len(all_lines)
    paragraphs, joined = [], 0
    for speaker, lines in blocks:
        verse = _join_turnovers(lines, width)
        is_set_off = not is_indented and all(line.startswith(" ") for line in lines)
        if not is_verse(verse, width, is_set_off or max(map(len, lines), default=0) <= poetry):
            verse = [join_lines(lines, words)]
        joined += max(len(lines) - len(verse), 0)
        paragraphs.append("\n".join(filter(None, [speaker, *map(str.strip, verse)])))
    return "\n\n".join(filter(None, paragraphs)) + "\n", joined


def _split_block(block: str) -> tuple[str, list[str]]:
    """Split a paragraph into the name of its speaker, if it begins with one, and its other lines."""
    speaker, _, speech = block.partition("\n")
    has_speaker = bool(speech.strip()) and first_line(block) is not None
    lines = (speech if has_speaker else block).split("\n")
    return (speaker.strip() if has_speaker else ""), list(filter(str.strip, lines))


def _join_turnovers(lines: list[str], width: int) -> list[str]:
    """Join the ends of lines of verse that did not fit to their lines."""
    joined = lines[:1]
    for previous, line in itertools.pairwise(lines):
        end = line.strip()
        if end[0].islower() and len(end) <= LONGEST_TURNOVER and _is_full(previous, line, width):
            joined[-1] += " " + end
        else:
            joined.append(line)
    return joined


def is_verse(lines: list[str], width: int, is_likely: bool = False) -> bool:
    """Whether the lines end where the author ended them, not where a line of `width` characters was full.

    A line is full if the first word of the next one would not have fit. Most lines of verse are not full, and begin
    with capitals. The capitals are enough if verse is likely: if the lines are set off, or no
    longer than others in a book of verse.
    """
    if len(lines) < 2:
        return False
    full = _fraction_full(lines, width)
    capitals = sum(bool(re.match(r"\W*[A-Z]", line)) for line in lines[1:]) / (len(lines) - 1)
    if full >= 0.5:  # as long as lines of prose, but prose has fewer capitals
        return capitals > 0.9 and (len(lines) >= 5 or (is_likely and lines[0].lstrip()[0] not in "[("))
    if capitals >= 0.6:
        return True
    # Verse with lowercase line starts. Prose in narrower lines, such as a quotation, fills those lines.
    longest = max(map(len, lines))
    return longest < 0.75 * width and _fraction_full(lines, longest) < 0.8


def _fraction_full(lines: list[str], width: int) -> float:
    """The fraction of the lines, without the last one, to which the next word could not have been added."""
    full = [_is_full(line, following, width) for line, following in itertools.pairwise(lines)]
    return sum(full) / len(full)


def _is_full(line: str, following: str, width: int) -> bool:
    return len(line) + 1 + len(following.split()[0]) > width - SLACK


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
