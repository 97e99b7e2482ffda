"""Joining the wrapped lines of prose into paragraphs, and leaving the lines of verse alone."""

import itertools
import re


def reflow(text: str) -> tuple[str, int]:
    """Make every prose paragraph one line and keep the lines of verse, without indentation.

    Returns:
        The text with one blank line between paragraphs, and the number of line breaks taken out.
    """
    lengths = sorted(len(line) for line in text.split("\n") if line.strip())
    width = lengths[int(0.95 * (len(lengths) - 1))] if lengths else 0
    words = set(re.findall(r"\w+(?:-\w+)*", text))
    paragraphs, joined = [], 0
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        lines = [line for line in paragraph.split("\n") if line.strip()]
        if is_verse(lines, width):
            paragraphs.append("\n".join(line.strip() for line in lines))
        else:
            paragraphs.append(join_lines(lines, words))
            joined += max(len(lines) - 1, 0)
    return "\n\n".join(filter(None, paragraphs)) + "\n", joined


def is_verse(lines: list[str], width: int) -> bool:
    """Whether the lines end where the author ended them, and not where a line of `width` was full.

    A line is full if the first word of the next would not have fitted. Lines of verse mostly are not full, and
    begin with capitals.
    """
    if len(lines) < 2:
        return False
    full = _fraction_full(lines, width)
    capitals = sum(bool(re.match(r"\W*[A-Z]", line)) for line in lines[1:]) / (len(lines) - 1)
    if full >= 0.5:
        return capitals > 0.9 and len(lines) >= 5  # as long as those of prose, but no prose has such capitals
    if capitals >= 0.6:
        return True
    # Verse whose lines begin with small letters, unless it is prose in narrower lines, such as a quotation.
    longest = max(map(len, lines))
    return longest < 0.75 * width and _fraction_full(lines, longest) < 0.8


def _fraction_full(lines: list[str], width: int) -> float:
    """Fraction of the lines but the last to which the next word could not have been added."""
    full = [len(line) + 1 + len(after.split()[0]) > width for line, after in itertools.pairwise(lines)]
    return sum(full) / len(full)


def join_lines(lines: list[str], words: set[str]) -> str:
    """One line from several. `words` are those of the whole text: they tell which hyphens only divide a word."""
    text = ""
    for line in lines:
        line = " ".join(line.split())
        if not text:
            text = line
        elif text.endswith(("--", "—")):
            text += line
        elif broken := re.search(r"(\w+)-$", text):
            rest = re.match(r"\w*", line)
            second = rest[0] if rest else ""
            is_divided = second[:1].islower() and broken[1] + second in words and f"{broken[1]}-{second}" not in words
            text = (text[:-1] if is_divided else text) + line
        else:
            text += " " + line
    return text
