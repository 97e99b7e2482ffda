"""Cutting passages and marks out of a text, so that what is around them reads as if they had never been there."""

import re
from collections.abc import Iterable

Span = tuple[int, int]  # offsets in a text: the first character, and the one after the last

LONGEST_BRACKET = 20_000  # characters; a longer passage lacks its closing bracket

_PARAGRAPH = re.compile(r"^.*\S.*(?:\n.*\S.*)*", re.M)


def paragraph_spans(text: str) -> list[Span]:
    """The paragraphs of a text: runs of lines that are not blank."""
    return [match.span() for match in _PARAGRAPH.finditer(text)]


def bracketed(text: str) -> dict[int, int]:
    """The passages in square brackets, by their start: the offset after the bracket that closes each of them."""
    ends, opened = {}, []
    for match in re.finditer(r"[\[\]]", text):
        if match[0] == "[":
            opened.append(match.start())
        elif opened and match.end() - opened[-1] <= LONGEST_BRACKET:
            ends[opened.pop()] = match.end()
        else:
            opened.clear()
    return ends


def cut_out(pattern: re.Pattern[str], text: str) -> tuple[str, int]:
    """Remove all matches. Where one interrupted a sentence, the two halves are joined again."""
    text, count = pattern.subn("\0", text)
    return _join(text), count


def cut_spans(text: str, passages: Iterable[Span], marks: Iterable[Span] = ()) -> str:
    """Remove passages, and marks outside them with the white space that belongs to them."""
    kept, position = [], 0
    cuts = [(start - (text[start - 1 : start] == " "), end, "\0") for start, end in passages]
    cuts += [(*around_mark(text, start, end), "") for start, end in marks]
    for start, end, replacement in sorted(cuts):
        if start >= position:
            kept += [text[position:start], replacement]
        position = max(position, end)
    return _join("".join([*kept, text[position:]]))


def around_mark(text: str, start: int, end: int) -> Span:
    """Extend the span of a mark by the spaces, or the end of its line, that would be left over without it."""
    begin = start
    while begin > 0 and text[begin - 1] == " ":
        begin -= 1
    following = text[end : end + 1]
    if begin > 0 and text[begin - 1] != "\n":
        return (start if following.isalnum() else begin), end
    if not following or following in "\n.,;:?!)":
        return max(begin - 1, 0), end
    while text[end : end + 1] == " ":
        end += 1
    return start, end


def _join(text: str) -> str:
    """Remove the null characters that replace passages, and join the halves of interrupted sentences."""
    # Possessive quantifiers: a run of line feeds without a match is read once, not once for each line feed.
    text = re.sub(r"(?<=[a-z,;])[^\S\n]*+\n\s*+\0[\s\0]*\n *(?=[a-z])", "\n", text)
    return text.replace("\0", "")
