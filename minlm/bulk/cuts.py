"""Where the bytes of a text can be cut without changing a word on either side."""

from collections.abc import Callable, Sequence

import regex

Read = Callable[[int, int], bytes]  # (place, size) → up to so many bytes of the text from there on

FIRST_WINDOW = 256  # bytes that are searched for a cut first
LONGEST_CHARACTER = 4  # bytes

# Runs of characters of one kind. Group 1 is a run that a cut can come after, as in `minlm.tokenization.pretokenize`; to
# match whole runs takes a fortieth of the time in words of megabytes.
_find_runs = regex.compile(r"(\p{L}++|\p{N}++|[^\s\p{L}\p{N}]++(?=\s))|\s++|[^\s\p{L}\p{N}]++").finditer


def next_cut(read: Read, position: int, end: int, special_tokens: Sequence[bytes]) -> int:
    """The first safe cut at byte `position` or later, or `end`.

    Args:
        read: reads the text.
        position: where to start, perhaps inside a character.
        end: of the text.
        special_tokens: never cut.
    """
    size = FIRST_WINDOW
    start = max(position - LONGEST_CHARACTER, 0)  # the character before the cut must be complete
    while position < end:
        window = read(start, size)
        text = window.decode("utf-8", "surrogateescape")
        at_end = start + len(window) >= end
        place, seen = start, 0
        for run in _find_runs(text):
            if run[1] is None:
                continue
            place += len(text[seen : run.end()].encode("utf-8", "surrogateescape"))
            seen = run.end()
            if not at_end and place > start + len(window) - LONGEST_CHARACTER:
                break  # the character after the cut may be incomplete
            if position <= place < end and not is_in_special(read, place, special_tokens):
                return place
        if at_end:
            break
        size *= 2  # so a word of any length is searched in linear time
    return end


def is_in_special(read: Read, place: int, special_tokens: Sequence[bytes]) -> bool:
    """Whether a special token, wherever it starts, has bytes on both sides of a place."""
    longest = max(map(len, special_tokens), default=1)
    start = max(place - longest + 1, 0)
    around = read(start, place - start + longest - 1)
    return any(
        around.find(token, max(place - start - len(token) + 1, 0), place - start + len(token) - 1) >= 0
        for token in special_tokens
    )


def shard_range(
    read: Read, size: int, special_tokens: Sequence[bytes], separator: bytes, shard: tuple[int, int]
) -> tuple[int, int]:
    """The first byte and the end of shard i of n (from 1 on) of a text of `size` bytes; together they are the text.

    A shard starts where a document does: after the first separator that ends at byte size · (i - 1) / n or later.
    """

    def boundary(part: int) -> int:
        place = max(size * part // shard[1] - len(separator), 0)
        while part > 0 and place < size:
            block = read(place, 1 << 20)
            found = block.find(separator)
            if found >= 0:
                place += found + len(separator)
                if not is_in_special(read, place, special_tokens):
                    return place
            else:
                place += max(len(block) - len(separator) + 1, 1)
        return 0 if part == 0 else size

    return boundary(shard[0] - 1), boundary(shard[0])
