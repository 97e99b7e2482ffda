"""Guess the encoding of a text that is not UTF-8, so that an error can say how to convert it."""

import re

START_BYTES = 4096  # of a text, to judge it by
_NEARBY = 1 << 15  # bytes on both sides of a wrong one

_MARKS = ((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


def wide_encoding(start: bytes, sure: bool = False) -> str:
    """The name for `iconv -f` of the form of UTF-16 or UTF-32 that a text seems to have, or "".

    Without a byte order mark, ASCII characters show it: each has a zero byte before or after it.

    Args:
        start: the first `START_BYTES` bytes of a text, or the whole text if it is shorter.
        sure: require more evidence, because the text is valid UTF-8 as well.
    """
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    if b"\0" not in start:
        return ""
    for name in ("UTF-32LE", "UTF-32BE"):
        text = start[: len(start) // 4 * 4].decode(name, errors="replace")
        if "\ufffd" not in text and any(_count_ascii(text)):
            return name
    start = start[: len(start) // 2 * 2]
    texts = {name: start.decode(name, errors="replace") for name in ("UTF-16LE", "UTF-16BE")}
    counts = {name: _count_ascii(text) for name, text in texts.items()}
    other, most = sorted(counts, key=lambda name: counts[name])
    if sure:
        upper_halves = start[most == "UTF-16LE" :: 2]  # in alphabets none of them is an ASCII letter
        return most if sum(counts[most]) >= max(4, 0.1 * len(texts[most])) and max(upper_halves) < ord("0") else ""
    return most if counts[most] > counts[other] else ""


def _count_ascii(text: str) -> tuple[int, int]:
    """The number of ASCII white space characters, whose bytes swapped are rare characters, and of visible ones."""
    return len(re.findall(r"[\t\n\r ]", text)), len(re.findall(r"[!-~]", text))


def how_to_convert(start: bytes, content: bytes, offset: int) -> str:
    """How to convert a text that begins with `start`, whose part `content` has an invalid byte at `offset`."""
    nearby = content[max(offset - _NEARBY, 0) : offset + _NEARBY]
    text = nearby.decode(errors="replace")
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    if name := wide_encoding(start):
        return f"It seems to be {name}. Convert it first: iconv -f {name} -t UTF-8 old.txt > new.txt"
    if text.count("\ufffd") * 10 < beyond_ascii:
        return "The rest is. Leave out what is broken: iconv -c -f UTF-8 -t UTF-8 old.txt > new.txt"
    is_windows = re.search(rb"[\x80-\x9f]", nearby) and not re.search(rb"[\x81\x8d\x8f\x90\x9d]", nearby)
    name = "WINDOWS-1252" if is_windows else "ISO-8859-1"
    return f"Convert it first, for example: iconv -f {name} -t UTF-8 old.txt > new.txt"
