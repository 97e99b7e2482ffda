"""Speakers of a play: lines in capitals with a name, alone in a paragraph or before the lines that are spoken."""

import re
from collections import Counter
from dataclasses import dataclass

from minlm.corpus.gutenberg.divisions import HEADING

RECURRING = 3  # times that a line in capitals occurs if it is the name of a speaker
PLAY = 10  # such lines, at least, and
PLAY_SHARE = 0.05  # of the paragraphs of a book that is a play
NEAR = 12  # paragraphs between two speakers at most

_ORDINAL = r"\d+(?:st|nd|rd|th|ST|ND|RD|TH) "
_NAME = re.compile(
    rf"_*(?P<name>(?:{_ORDINAL})?[^\W\d_a-z][^a-z\n(\[]{{0,45}}?)_*(?P<end>[.:]?)_*(?: *[(\[][^\n]*[)\]][.:]?_*)?"
)


@dataclass(frozen=True)
class Line:
    """A line that may name a speaker: the name, the punctuation after it, and whether it is a paragraph of its own."""

    name: str
    end: str
    alone: bool


def first_line(paragraph: str) -> Line | None:
    """The first line of a paragraph if it is like `CREON.`, `2ND WOMAN` or `CHORUS (_aside_)`."""
    line, _, rest = paragraph.strip().partition("\n")
    match = _NAME.fullmatch(line.strip())
    if (
        match is None
        or HEADING.fullmatch(line.strip())
        or line.strip().startswith("TO ")
        or sum(char.isalpha() for char in match["name"]) < 2
    ):
        return None
    return Line(re.sub(r"^(?:AN?|THE) ", "", match["name"].strip(" .:,")), match["end"], not rest.strip())


def find_speakers(paragraphs: list[str], gaps: list[int]) -> set[int]:
    """Find the paragraphs that begin with the name of a speaker.

    A name that recurs is one. In a play, so is a name that occurs once or twice, if it looks like the others and is
    among them.

    Args:
        paragraphs: of the whole book.
        gaps: the number of line ends before each of them.

    Returns:
        Indices of paragraphs.
    """
    lines = {i: line for i, paragraph in enumerate(paragraphs) if (line := first_line(paragraph)) is not None}
    count = Counter(line.name for line in lines.values())
    recurring = {i for i, line in lines.items() if count[line.name] >= RECURRING}
    if not is_play(len(recurring), len(paragraphs)):
        return recurring
    form = Counter((lines[i].end, lines[i].alone) for i in recurring).most_common(1)[0][0]
    in_form = {i for i, line in lines.items() if (line.end, line.alone) == form}
    speakers = recurring & in_form
    widest_gap = sorted(gaps[i] for i in speakers)[int(0.9 * len(speakers))]
    speakers |= {
        i for i in in_form if gaps[i] <= widest_gap and any(i + step in speakers for step in range(-NEAR, NEAR + 1))
    }
    names = {lines[i].name for i in speakers}
    cast = tuple(f"{name} " for name in names)  # `PRIEST OF ZEUS.` in the list of characters speaks as `PRIEST.`
    speakers |= {i for i, line in lines.items() if line.name.startswith(cast)}
    return speakers | {i for i, line in lines.items() if line.name in names}


def is_play(speakers: int, paragraphs: int) -> bool:
    """Whether a book has enough lines with the names of speakers to be a play."""
    return speakers >= max(PLAY, PLAY_SHARE * paragraphs)


def separate_speeches(text: str) -> tuple[str, int]:
    """Set the names of speakers one way in the whole book, the way that is more frequent: alone or before the speech.

    Speeches that follow each other without a blank line are separated. Counts the changed places.
    """
    text, separated = _split_speeches(text)
    parts = re.split(r"(\n\s*\n)", text)
    paragraphs, gaps = parts[::2], [0, *(gap.count("\n") for gap in parts[1::2])]
    speakers = find_speakers(paragraphs, gaps)
    if not is_play(len(speakers), len(paragraphs)):
        return text, separated
    lines = {i: first_line(paragraphs[i]) for i in speakers}
    alone = {i for i, line in lines.items() if line is not None and line.alone}
    attached = speakers - alone
    if len(alone) >= len(attached):
        for i in attached:
            parts[2 * i] = parts[2 * i].replace("\n", "\n\n", 1)
        return "".join(parts), separated + len(attached)
    followed = {i for i in alone if i + 1 < len(paragraphs) and i + 1 not in speakers}
    for i in followed:
        parts[2 * i + 1] = "\n"
    return "".join(parts), separated + len(followed)


def _split_speeches(text: str) -> tuple[str, int]:
    """Put a blank line before each line within a paragraph that begins a speech. Counts them."""
    lines = text.split("\n")
    names = [_speaker_of(line) for line in lines]
    count = Counter(filter(None, names))
    recurring = [i for i, name in enumerate(names) if name and count[name] >= RECURRING]
    if not is_play(len(recurring), text.count("\n\n")):
        return text, 0
    speeches = set()
    for i in recurring:
        before = lines[i - 1].strip() if i > 0 else ""
        has_speech = first_line(lines[i]) is None or "".join(lines[i + 1 : i + 2]).strip()
        if before and not before.isupper() and has_speech:
            speeches.add(i)
    return "\n".join("\n" + line if i in speeches else line for i, line in enumerate(lines)), len(speeches)


def _speaker_of(line: str) -> str:
    """The name of a speaker at the start of a line, `CREON` in `CREON. Who?`, or "" if there is none."""
    match = re.match(rf" *_?((?:{_ORDINAL})?[A-Z][A-Z .'-]{{2,30}}?)_?[.:]_? +(?=.*[a-z])", line)
    if match is not None:
        return match[1]
    alone = first_line(line)
    return alone.name if alone is not None else ""
