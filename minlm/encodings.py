"""The likely encoding of a text that is not UTF-8, so that an error can say how to convert it."""

import re

START_BYTES = 4096  # how much of a text's start is examined
_NEARBY = 1 << 15  # bytes examined on each side of an invalid byte

_BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16",
}  # fmt: skip


def wide_encoding(start: bytes, is_utf8: bool = False) -> str:
    """The name of the text's encoding for `iconv -f` if it is UTF-16 or UTF-32, otherwise "".

    Without a byte order mark, ASCII characters reveal the encoding: each has a zero byte before or after it.

    Args:
        start: the first `START_BYTES` bytes of a text, or all of a shorter one.
        is_utf8: the text is also valid UTF-8, so stronger evidence is required.
    """
    for mark, name in _BYTE_ORDER_MARKS.items():
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
    other, likely = sorted(counts, key=lambda name: counts[name])
    if is_utf8:
        high_bytes = start[likely == "UTF-16LE" :: 2]  # below every ASCII digit and letter in alphabetic scripts
        has_enough = sum(counts[likely]) >= max(4, 0.1 * len(texts[likely]))
        return likely if has_enough and max(high_bytes) < ord("0") else ""
    return likely if counts[likely] > counts[other] else ""


def _count_ascii(text: str) -> tuple[int, int]:
    """Count white space, which no swap of bytes turns into another character, and visible ASCII characters."""
    return len(re.findall(r"[\t\n\r ]", text)), len(re.findall(r"[!-~]", text))


def how_to_convert(start: bytes, content: bytes, offset: int) -> str:
    """Advice for an error: the `iconv` command that converts the text to UTF-8.

    `start` has the first `START_BYTES` bytes of the text; `content` has an invalid byte at `offset`.
    """
    nearby = content[max(offset - _NEARBY, 0) : offset + _NEARBY]
    text = nearby.decode(errors="replace")
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    if name := wide_encoding(start):
        return f"It seems to be {name}. Convert it first: iconv -f {name} -t UTF-8 old.txt > new.txt"
    if text.count("\ufffd") * 10 < beyond_ascii:
        return "The rest is. Drop the invalid bytes: iconv -c -f UTF-8 -t UTF-8 old.txt > new.txt"
    is_windows = re.search(rb"[\x80-\x9f]", nearby) and not re.search(rb"[\x81\x8d\x8f\x90\x9d]", nearby)
    name = "WINDOWS-1252" if is_windows else "ISO-8859-1"
    return f"Convert it first, for example: iconv -f {name} -t UTF-8 old.txt > new.txt"
