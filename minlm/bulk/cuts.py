"""Where the bytes of a text can be cut without changing a word on either side."""

from collections.abc import Callable, Sequence

import regex

Read = Callable[[int, int], bytes]  # (offset, size) → the bytes of the text from `offset` on, `size` at most

FIRST_WINDOW = 256  # bytes to search first
LONGEST_CHARACTER = 4  # bytes

# Runs of characters of one kind. A cut can come after a run in group 1, as in `minlm.tokenization.segments`. Matching
# whole runs takes a fortieth of the time in words of megabytes.
_find_runs = regex.compile(
    r"(\p{L}++(?!\p{M})|\p{N}++|[^\s\p{L}\p{N}]++(?=[^\S\r\n]))|\p{L}++|\s++|[^\s\p{L}\p{N}]++"
).finditer


def next_cut(read: Read, position: int, end: int, special_tokens: Sequence[bytes]) -> int:
    """The first safe cut at byte `position` or later, or `end`.

    Args:
        read: reads the text.
        position: where to start; may be inside a character.
        end: the size of the text.
        special_tokens: never cut.
    """
    size = FIRST_WINDOW
    start = max(position - LONGEST_CHARACTER, 0)  # the character before the cut must be complete
    while position < end:
        window = read(start, size)
        text = window.decode("utf-8", "surrogateescape")
        at_end = start + len(window) >= end
        cut, seen = start, 0
        for run in _find_runs(text):
            if run[1] is None:
                continue
            cut += len(text[seen : run.end()].encode("utf-8", "surrogateescape"))
            seen = run.end()
            if not at_end and cut > start + len(window) - LONGEST_CHARACTER:
                break  # the character after the cut may be incomplete
            if position <= cut < end and not is_in_special(read, cut, special_tokens):
                return cut
        if at_end:
            break
        size *= 2  # so a word of any length is searched in linear time
    return end


def is_in_special(read: Read, offset: int, special_tokens: Sequence[bytes]) -> bool:
    """Whether a special token, wherever it starts, has bytes on both sides of an offset."""
    longest = max(map(len, special_tokens), default=1)
    start = max(offset - longest + 1, 0)
    around = read(start, offset - start + longest - 1)
    return any(
        around.find(token, max(offset - start - len(token) + 1, 0), offset - start + len(token) - 1) >= 0
        for token in special_tokens
    )


def shard_range(
    read: Read, size: int, special_tokens: Sequence[bytes], separator: bytes, shard: tuple[int, int]
) -> tuple[int, int]:
    """Start and end of shard i of n (counted from 1) of a text of `size` bytes; all shards together are the text.

    A shard starts where a document does: after the first separator that ends at byte size · (i - 1) / n or later.
    """

    def boundary(part: int) -> int:
        return cut_after(separator, read, size * part // shard[1], size, special_tokens) if part > 0 else 0

    return boundary(shard[0] - 1), boundary(shard[0])


def cut_after(separator: bytes, read: Read, position: int, end: int, special_tokens: Sequence[bytes]) -> int:
    """Where the first separator ends that ends at byte `position` or later, or `end`; see `next_cut`."""
    offset = max(position - len(separator), 0)
    while offset < end:
        block = read(offset, 1 << 20)
        found = block.find(separator)
        if found >= 0:
            offset += found + len(separator)
            if not is_in_special(read, offset, special_tokens):
                return min(offset, end)
        else:
            offset += max(len(block) - len(separator) + 1, 1)
    return end
