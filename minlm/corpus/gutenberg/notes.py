"""Removing notes together with their marks, in all the ways in which Project Gutenberg's files write them.

A note begins with a *head*, such as `[12] Text`, `f(12) Text`, `{12} Text`, `12 [ Text ]`, `Footnote 12: Text`,
`[Footnote 12: Text]` or `* Text`; in a list, also with a plain `12 Text`. Its *mark* in the work is `[12]`, `(12)`,
`{12}`, `^12`, `*` or a plain `12`. A head belongs to an earlier mark with the same label. If most heads of a
shape have a mark, all are removed with their marks; otherwise heads and marks stay.
"""

import itertools
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from minlm.corpus.gutenberg.cutting import Span, bracketed, cut_spans, paragraph_spans
from minlm.corpus.gutenberg.note_lists import NoteList, find_lists, without_marks
from minlm.corpus.gutenberg.numbers import longest_rise

MANY = 10  # heads of a shape, if nothing else shows that they are notes
MOST = 0.6  # of the heads of a shape have marks
CONTINUED = 4  # paragraphs of a note after its first one, outside lists

NUMBER = r"\d{1,5}[a-z]?"
LABEL = rf"(?P<label>{NUMBER}|[A-Z]{{1,2}}|[a-z]|\*{{1,6}}|[†‡§]{{1,6}})"
PREFIX = r"(?:(?:F?N|[Ff]n|(?:[Ff]oot)?[Nn]ote) ?#? ?)?"
MARKS = {
    "[": rf"\[{PREFIX}{LABEL}[.:]?\](?!\w)",
    "(": rf"\((?P<label>{NUMBER})\)(?!\w)",
    "{": rf"\{{(?P<label>{NUMBER})\}}(?!\w)",
    "<": rf"<(?P<label>{NUMBER})>(?!\w)",
    "^": rf"(?<=\S)\^(?P<label>{NUMBER})\b",
    "*": r"(?<=[\w.,;:!?\"')’”])(?P<label>\*{1,6}|[†‡§]{1,6})(?![\w*])",
    "plain": rf"(?<![\dA-Z/$£-])(?<!\d[.,:])(?P<label>{NUMBER})(?![\w/]|-(?!-))(?![.,:]\d)",
}
HEADS = {  # at the start of a paragraph
    "note": rf"(?i:(?:foot|end)?note) *[\[(#]?{LABEL}[\])]?[:.)\]]",
    "plain [": rf"(?P<label>{NUMBER})\.? *(?:\(return\) ?)?\[ ",
    "[": rf"\[{PREFIX}{LABEL}[.:]?\](?= *\n? *\S)",
    "(": rf"(?:fn?)?\((?P<label>{NUMBER})\)(?= *\n? *\S)",
    "{": rf"\{{(?P<label>{NUMBER})\}}(?= *\n? *\S)",
    "<": rf"<(?P<label>{NUMBER})>(?= *\n? *\S)",
    "^": rf"\^(?P<label>{NUMBER})(?= *\n? *\S)",
    "*": r"(?P<label>\*{1,4}|[†‡§]{1,2}) ?(?=[\"'(“‘_]?[A-Za-z])(?!.*\*)",
    "plain": rf"(?P<label>{NUMBER})[.)]?(?: +|\n *)(?=\S)",
}
MARKS_OF = {
    "[note": "[({<^*", "note": "[({<^*", "plain [": "[({<^", "plain": "[({<^", "[": "[^", "{": "{", "<": "<", "^": "^",
    "*": "*", "(": "(",
}  # fmt: skip
_MARKS = {shape: re.compile(pattern) for shape, pattern in MARKS.items()}
_HEADS = {shape: re.compile(f" *{pattern}") for shape, pattern in HEADS.items()}
_LINE = re.compile(r"^", re.M)
_BRACKETED = re.compile(rf"\[(?:foot|end|side)?note\b(?: *{LABEL}[:.\]])?", re.I)


@dataclass(frozen=True)
class Mark:
    """A mark in the work."""

    label: str
    start: int
    end: int


@dataclass(frozen=True)
class Head:
    """The beginning of a note, without the spaces before it."""

    shape: str
    label: str
    start: int
    end: int
    paragraph: int  # index
    listed: NoteList | None  # the list that it is in
    closed: int | None = None  # the end of the note, if a bracket shows it

    def continues(self, other: "Head") -> bool:
        """Whether this is the next number in the same shape."""
        return self.shape == other.shape and _follows(self.label, other.label)


def remove_notes(text: str) -> tuple[str, int]:
    """Remove notes and their marks. Counts notes."""
    paragraphs = paragraph_spans(text)
    lists = find_lists(text, paragraphs)
    brackets = bracketed(text)
    heads = [*_bracketed_heads(text, paragraphs, brackets), *_heads(text, paragraphs, lists, brackets)]
    notes: list[Span] = []
    marks: list[Mark] = []
    taken: set[int] = set()  # where the marks are
    headings: set[Span] = set()  # of lists of notes
    for shape, is_kind in itertools.product(MARKS_OF, (str.isdigit, str.isalpha, lambda start: not start.isalnum())):
        kind = [head for head in heads if head.shape == shape and is_kind(head.label[:1]) and head.start not in taken]
        if kind:
            removed, used = _match(text, kind, taken, paragraphs, lists)
            notes += _extents(text, removed, used, paragraphs)
            headings |= {paragraphs[head.listed.heading] for head in removed if head.listed}
            marks += used
            taken |= {mark.start for mark in used}
    notes += without_marks(text, paragraphs, lists)
    return cut_spans(text, [*notes, *headings], [(mark.start, mark.end) for mark in marks]), len(notes)


def remove_marks_without_notes(text: str) -> tuple[str, int]:
    """Remove `[12]`, `(12)`, `{12}`, `[A]` directly after a word, and `[*]`, if no paragraph begins with the same."""
    heads = {text[start:end].split(maxsplit=1)[0] for start, end in paragraph_spans(text)}
    marks = [
        match.span()
        for symbol in "[({"
        for match in _MARKS[symbol].finditer(text)
        if match[0] not in heads and (_is_glued(text, match.start()) or not match["label"].isalnum())
    ]
    return cut_spans(text, (), marks), len(marks)


def _bracketed_heads(text: str, paragraphs: list[Span], brackets: dict[int, int]) -> Iterator[Head]:
    """Find notes such as `[Footnote 1: …]`, which may be within a paragraph."""
    starts, end = [start for start, _ in paragraphs], 0
    for match in _BRACKETED.finditer(text):
        closed = brackets.get(match.start())
        if closed is not None and match.start() >= end:
            end = closed
            paragraph = bisect_right(starts, match.start()) - 1
            yield Head("[note", match["label"] or "", *match.span(), paragraph, None, closed)


def _heads(text: str, paragraphs: list[Span], lists: list[NoteList], brackets: dict[int, int]) -> Iterator[Head]:
    """Find the heads at the starts of paragraphs, and at the starts of other lines if they continue to count."""
    remaining = iter(lists)
    current, previous = next(remaining, None), None
    for i, (start, end) in enumerate(paragraphs):
        while current is not None and i >= current.end:
            current = next(remaining, None)
        listed = current if current is not None and i in current else None
        if listed is None:
            previous = None
        for line in _LINE.finditer(text, start, end):
            is_first = line.start() == start
            head = _head_at(text, line.start(), i, listed, brackets) if is_first or previous else None
            if head is not None and (is_first or (previous is not None and head.continues(previous))):
                yield head
                previous = head


def _head_at(
    text: str, position: int, paragraph: int, listed: NoteList | None, brackets: dict[int, int]
) -> Head | None:
    for shape, pattern in _HEADS.items():
        match = pattern.match(text, position)
        if match is None or (shape == "plain" and listed is None and not match[0].startswith("  ")):
            continue
        start = match.end() - len(match[0].lstrip())
        closed = brackets.get(text.rindex("[", start, match.end())) if shape == "plain [" else None
        return Head(shape, match["label"], start, match.end(), paragraph, listed, closed)
    return None


def _follows(label: str, previous: str) -> bool:
    return label.isdigit() and previous.isdigit() and int(label) == int(previous) + 1


def _match(
    text: str, heads: list[Head], taken: set[int], paragraphs: list[Span], lists: list[NoteList]
) -> tuple[list[Head], list[Mark]]:
    """Choose the heads of one kind to remove, with their marks, which are not at the offsets `taken`.

    Both are empty if too few heads have marks.
    """
    shape = heads[0].shape
    no_marks = taken | {offset for head in heads for offset in range(head.start, head.end)}
    found = {
        symbol: [
            Mark(match["label"], *match.span())
            for match in _MARKS[symbol].finditer(text)
            if match.start() not in no_marks
        ]
        for symbol in MARKS_OF[shape]
    }
    symbol = max(found, key=lambda symbol: len(_pair(heads, found[symbol])))
    marks, pairs = found[symbol], _pair(heads, found[symbol])
    if not _are_notes(text, heads, pairs):
        marks, pairs = [], _pair_plain(text, heads, no_marks, paragraphs, lists)
        if len(pairs) < max(MANY, MOST * len(heads)):
            pairs = []
    if not pairs and shape != "[note":
        return [], []
    paired = {head.start for head, _ in pairs}
    paired_lists = {head.listed for head, _ in pairs if head.listed}
    removed: list[Head] = []
    for head in heads:
        is_next = bool(removed) and _follows(head.label, removed[-1].label)
        if head.start in paired or shape == "[note" or head.listed in paired_lists or is_next:
            removed.append(head)
    labels = {head.label for head in removed}
    used = {mark.start: mark for _, mark in pairs}
    used |= {
        mark.start: mark for mark in marks if mark.label in labels and (symbol != "(" or _is_glued(text, mark.start))
    }
    return removed, sorted(used.values(), key=lambda mark: mark.start)


def _pair(heads: list[Head], marks: list[Mark]) -> list[tuple[Head, Mark]]:
    """Give each head the last mark before it that has its label and belongs to no other head."""
    pairs: list[tuple[Head, Mark]] = []
    unused: dict[str, Mark] = {}
    position = 0
    for head in heads:
        while position < len(marks) and marks[position].start < head.start:
            unused[marks[position].label] = marks[position]
            position += 1
        if head.label in unused:
            pairs.append((head, unused.pop(head.label)))
    return pairs


def _is_glued(text: str, start: int) -> bool:
    before = text[start - 1 : start]
    return before.isalnum() or before in tuple(".,;:!?\"'”’)]_")


def _are_notes(text: str, heads: list[Head], pairs: list[tuple[Head, Mark]]) -> bool:
    """Whether heads of one kind begin notes: most have marks, and they are many or have another sign of a note."""
    shape, count = heads[0].shape, len(pairs)
    if count == 0 or count < MOST * len(heads):
        return False
    if shape in ("note", "[note") or all(head.listed for head, _ in pairs):
        return True
    if sum(_is_glued(text, mark.start) for _, mark in pairs) > count / 2:
        return count >= 3 or shape in "[{<^*"
    numbers = [(int(head.label), head) for head, _ in pairs if head.label.isdigit()]
    return len(longest_rise(numbers)) >= max(MANY, MOST * count)


def _pair_plain(
    text: str, heads: list[Head], no_marks: set[int], paragraphs: list[Span], lists: list[NoteList]
) -> list[tuple[Head, Mark]]:
    """Find marks that are plain numbers: in the text before each list, in the order of the list."""
    pairs, begin = [], 0
    starts = {start for start, _ in paragraphs}
    for note_list in lists:
        listed = [head for head in heads if head.listed == note_list]
        places: dict[str, list[int]] = defaultdict(list)
        for i, head in enumerate(listed):
            places[head.label].append(i)
        end = paragraphs[note_list.heading][0]
        marks = [
            (i, Mark(match["label"], *match.span()))
            for match in _MARKS["plain"].finditer(text, begin, end)
            if match.start() not in no_marks and match.start() not in starts
            for i in reversed(places.get(match["label"], []))
        ]
        pairs += [(listed[i], mark) for i, mark in longest_rise(marks)]
        begin = paragraphs[note_list.end - 1][1]
    return pairs


def _extents(text: str, heads: list[Head], marks: list[Mark], paragraphs: list[Span]) -> Iterator[Span]:
    """The spans of notes, from the head to the next head, unless the work goes on before it.

    The work goes on where a mark is. Otherwise a note has more paragraphs only in a list, or if they are few.
    """
    starts = [mark.start for mark in marks]
    for head, following in itertools.zip_longest(heads, heads[1:]):
        if head.closed is not None:
            yield head.start, head.closed
            continue
        end = _end_of_paragraph(text, head, paragraphs)
        last = head.paragraph
        if following is not None and following.start <= end:
            end = following.start
        elif following is not None and following.listed == head.listed:
            is_interrupted = bisect_left(starts, end) < bisect_left(starts, following.start)
            if not is_interrupted and (head.listed or following.paragraph - last <= CONTINUED):
                last = following.paragraph - 1
        elif head.listed is not None:
            last = head.listed.end - 1
        next_head = following.paragraph if following is not None else len(paragraphs)
        if text[end - 1] == ":" and last + 1 < next_head and text.startswith("  ", paragraphs[last + 1][0]):
            last += 1  # a quotation
        yield head.start, max(end, paragraphs[last][1]) if last > head.paragraph else end


def _end_of_paragraph(text: str, head: Head, paragraphs: list[Span]) -> int:
    """The end of a head's paragraph, or of its indented lines if it is a plain number outside a list."""
    end = paragraphs[head.paragraph][1]
    if head.shape == "plain" and head.listed is None:
        work = re.compile(r"\n(?! )").search(text, head.end, end)
        return work.start() if work else end
    return end
