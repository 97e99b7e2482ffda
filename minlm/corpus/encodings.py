"""In which encoding a text is that is not UTF-8, so that an error can say how to convert it."""

import re

START_BYTES = 4096  # of a text, to judge it by
_NEARBY = 1 << 15  # bytes on both sides of a wrong one

_MARKS = ((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


def wide_encoding(start: bytes, sure: bool = False) -> str:
    """UTF-16 or UTF-32, if a text that begins so seems to be in it, by its name for `iconv -f`; else "".

    Without a byte order mark the characters that are ASCII give it away: each has a zero byte before or behind it.

    Args:
        start: the first `START_BYTES` bytes of a text, or all there are.
        sure: the text is valid UTF-8 as well, so it takes more to say something else.
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
        upper_halves = start[most == "UTF-16LE" :: 2]  # of alphabets: none of them looks like a letter itself
        return most if sum(counts[most]) >= max(4, 0.1 * len(texts[most])) and max(upper_halves) < ord("0") else ""
    return most if counts[most] > counts[other] else ""


def _count_ascii(text: str) -> tuple[int, int]:
    """White space, which no other character has for its mirror image, and visible characters of ASCII."""
    return len(re.findall(r"[\t\n\r ]", text)), len(re.findall(r"[!-~]", text))


def how_to_convert(start: bytes, content: bytes, offset: int) -> str:
    """A sentence about a text that begins with `start` and in whose part `content` the byte at `offset` is wrong."""
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
