"""Removing numbers that count pages, or that refer to notes which the file does not have."""

import itertools
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from minlm.corpus.gutenberg.cutting import Span, cut_out, cut_spans

MANY = 10  # numbers, at least, that count something
COUNTING = 0.5  # of the numbers of a shape, at least, count up, and of these, each step but half is 1
INSIDE = 0.3  # of them, at least, are not where a numbered section or an item of a list can begin
SPREAD = 0.3  # of the text, at least, is between the first and the last
FIRST = 100  # the first is at most this: years are higher
REGULAR = 0.7  # of the numbers in a margin count lines by 5 or 10
ERROR = 3  # numbers that differ at most so much from the one before them belong to the others, in spite of a misprint

_SHAPES = (r"\[(\d{1,4})\]", r"\((\d{1,4})\)", r"\{(\d{1,4})\}", r"<(\d{1,4})>", r"\|(\d{1,4})\|")
_LABELLED = re.compile(r" ?[\[{](?:pages?|pg|pp?)\b\.? *(?:\d+|[ivxlc]+)[\]}]", re.I)
_ALONE = re.compile(r"^ *(?:-+ *\d{1,4} *-+|(?:page|pg\.|p\.) *\d{1,4}|\{\d{1,4}\}) *$", re.I | re.M)
_MARGIN = re.compile(r"(?<=\S) {2,}(?P<right>\(?\d{1,5}\)?)$|^ *(?P<left>\(?\d{1,5}\)?) {2,}(?=\S)", re.M)
_BARE = re.compile(r"(?<=\n\n) *(\d{1,4}) *(?=\n\n)")

T = TypeVar("T")


def remove_page_numbers(text: str) -> tuple[str, int]:
    """Remove `[Pg 12]`, `{p. 12}`, lines such as `- 12 -`, and numbers that count up through the text: alone in a
    paragraph, or in brackets anywhere. The latter may also be marks of notes that the file does not have.
    """
    text, labelled = cut_out(_LABELLED, text)
    text, alone = cut_out(_ALONE, text)
    numbers = [int(number) for number in _BARE.findall(text)]
    rising = sum(later > earlier for earlier, later in itertools.pairwise(numbers))
    bare = 0
    if len(numbers) >= MANY and rising > 0.9 * (len(numbers) - 1):
        text, bare = cut_out(_BARE, text)
    counting = [span for shape in _SHAPES for span in _counting_up(text, re.compile(rf"{shape}(?!\w)"))]
    separate = [span for span in counting if _is_alone(text, *span)]
    return cut_spans(text, separate, set(counting) - set(separate)), labelled + alone + bare + len(counting)


def remove_line_numbers(text: str) -> tuple[str, int]:
    """Remove the numbers of lines of verse in a margin: most are 5 or 10 above the one before."""
    found = [match.span(match.lastgroup or 0) for match in _MARGIN.finditer(text)]
    numbers = [int(text[start:end].strip("()")) for start, end in found]
    steps = Counter(later - earlier for earlier, later in itertools.pairwise(numbers))
    if steps[5] + steps[10] < max(MANY, REGULAR * len(numbers)):
        return text, 0
    spans = [span for span, number in zip(found, numbers, strict=True) if number % 5 == 0]
    return cut_spans(text, (), spans), len(spans)


def _counting_up(text: str, pattern: re.Pattern[str]) -> list[Span]:
    """The places of numbers that count up through the text, or none."""
    found = list(pattern.finditer(text))
    rise = longest_rise([(int(match[1]), match.span()) for match in found])
    numbers, spans = [number for number, _ in rise], [span for _, span in rise]
    if len(rise) < max(MANY, COUNTING * len(found)) or numbers[0] > FIRST:
        return []
    ones = sum(later == earlier + 1 for earlier, later in itertools.pairwise(numbers))
    inside = sum(_is_inside(text, *span) for span in spans)
    spread = spans[-1][1] - spans[0][0]
    if ones < COUNTING * (len(rise) - 1) or inside < INSIDE * len(rise) or spread < SPREAD * len(text):
        return []
    starts = [start for start, _ in spans]
    before = [numbers[max(bisect_right(starts, match.start()) - 1, 0)] for match in found]
    return [match.span() for match, number in zip(found, before, strict=True) if abs(int(match[1]) - number) <= ERROR]


def _is_inside(text: str, start: int, end: int) -> bool:
    """Whether a number is within a sentence, directly after a word, or alone in its line."""
    before = text[max(start - 80, 0) : start]
    return (
        _is_alone(text, start, end)
        or not before[-1:].isspace()
        or before.rstrip()[-1:].isalnum()
        or before.rstrip()[-1:] in ",;-"
    )


def _is_alone(text: str, start: int, end: int) -> bool:
    """Whether nothing else is in the line."""
    before, after = text[max(start - 80, 0) : start], text[end : end + 80]
    return not before.rpartition("\n")[2].strip() and not after.partition("\n")[0].strip()


def longest_rise(items: Sequence[tuple[int, T]]) -> list[tuple[int, T]]:
    """The longest subsequence whose numbers rise, by patience sorting."""
    lowest: list[int] = []  # the lowest number that ends a rise of each length
    ends: list[int] = []  # and its index
    before: list[int] = []  # for each item, the index of the one before it in its rise
    for i, (number, _) in enumerate(items):
        length = bisect_left(lowest, number)
        lowest[length : length + 1] = [number]
        ends[length : length + 1] = [i]
        before.append(ends[length - 1] if length else -1)
    rise, i = [], ends[-1] if ends else -1
    while i >= 0:
        rise.append(items[i])
        i = before[i]
    return rise[::-1]
