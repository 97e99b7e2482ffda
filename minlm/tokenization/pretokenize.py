"""Cutting text into pre-tokens ("words"), as GPT-2 does. No merge ever crosses a pre-token or a special token.

Every character of the text is in exactly one pre-token, so joined they are the text again.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import regex

from minlm.errors import MinlmError

# GPT-2's pattern (Radford et al. 2019, encoder.py), its contractions gathered into one group. A word takes one space
# before it along; of longer white space the last character is left to the word behind it, if it is a space.
GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

Read = Callable[[int, int], bytes]  # (place, size) → up to so many bytes of a text from there on
_CONTINUATION = bytes(range(0x80, 0xC0))  # UTF-8's bytes within a character

find_words = regex.compile(GPT2_PATTERN).findall

# Where text can be cut without changing a pre-token on either side: behind the last letter, digit or other visible
# character of a run whose next character, already seen, is of another kind. (`(?r)` searches from the end.)
_find_last_cut = regex.compile(r"(?r)\p{L}(?=\P{L})|\p{N}(?=\P{N})|\S(?=\s)").search
# The same forwards, a run at a time (40 times as fast in words of megabytes); group 1 where a cut may be behind it.
_find_runs = regex.compile(r"(\p{L}++|\p{N}++|[^\s\p{L}\p{N}]++(?=\s))|\s++|[^\s\p{L}\p{N}]++").finditer

FIRST_WINDOW = 256  # bytes in which a cut is looked for first
MIN_SEGMENT_CHARS = 1 << 13  # so that a stream of single characters costs little more than one of long strings


class PreTokenizer:
    """Splits text at special tokens and streams into pieces that can be handled one by one.

    Args:
        special_tokens: strings that are tokens wherever they occur; where several match, the longest wins.

    Raises:
        MinlmError: a special token is empty or given twice.
    """

    def __init__(self, special_tokens: Sequence[str] = ()):
        if "" in special_tokens or len(set(special_tokens)) < len(special_tokens):
            raise MinlmError(f"special tokens must be different and not empty, but are {list(special_tokens)}")
        self.special_tokens = list(special_tokens)
        longest_first = sorted(special_tokens, key=len, reverse=True)
        self._special = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if longest_first else None
        self._longest = len(longest_first[0]) if longest_first else 1
        self._special_bytes = [token.encode() for token in special_tokens]
        self._longest_bytes = max(map(len, self._special_bytes), default=1)

    def split(self, text: str) -> list[str]:
        """Ordinary text at even places (possibly empty), special tokens at odd places; joined they are `text`."""
        return self._special.split(text) if self._special else [text]

    def segments(self, chunks: Iterable[str]) -> Iterator[str]:
        """Regroup a stream of strings, however cut, into segments whose pre-tokens can be found one by one.

        The pre-tokens and special tokens of all segments together are those of the joined text. Holds no more than
        one chunk, or `MIN_SEGMENT_CHARS`, or one word, whichever is longest.
        """
        waiting: list[str] = []
        rest, num_waiting = "", 0
        for chunk in chunks:
            waiting.append(chunk)
            num_waiting += len(chunk)
            if num_waiting < max(MIN_SEGMENT_CHARS, len(rest)):  # doubling keeps a word without end linear
                continue
            text = "".join([rest, *waiting])
            cut = self._last_safe_cut(text)
            if cut:
                yield text[:cut]
            rest, waiting, num_waiting = text[cut:], [], 0
        if text := "".join([rest, *waiting]):
            yield text

    def _last_safe_cut(self, text: str) -> int:
        """A place in `text`, as far behind as possible, to cut it whatever may follow; 0 if there is none."""
        certain = len(text) - self._longest + 1  # a special token that starts before it is seen whole
        match = _find_last_cut(text, 0, max(certain + 1, 0))
        cut = match.end() if match else 0
        for special in self._special.finditer(text) if self._special else ():
            if special.start() >= certain:
                break
            cut = max(cut, special.end())  # never into a special token; behind it the text starts anew
        return cut

    def next_cut(self, read: Read, position: int, end: int) -> int:
        """The first place from byte `position` on where a text can be cut without changing a pre-token, or its end.

        Args:
            read: gives bytes of the text.
            position: where to begin, in the middle of a character perhaps.
            end: of the text.
        """
        size = FIRST_WINDOW
        while position < end:
            start = max(position - 4, 0)  # the character before the cut must be seen whole
            window = read(start, size)
            skipped = len(window[:3]) - len(window[:3].lstrip(_CONTINUATION)) if start else 0
            text = window[skipped:].decode("utf-8", "surrogateescape")
            place = start + skipped
            done = 0
            for run in _find_runs(text):
                if run[1] is None:
                    continue
                place += len(text[done : run.end()].encode("utf-8", "surrogateescape"))
                done = run.end()
                if place > start + len(window) - 4 and start + len(window) < end:
                    break  # what follows is not seen whole
                if place >= position and not self.is_in_special(read, place):
                    return min(place, end)
            if start + len(window) >= end:
                break
            size *= 2  # so that a word without end is linear
        return end

    def is_in_special(self, read: Read, place: int) -> bool:
        """Whether bytes of a special token, wherever it starts, stand on both sides of a place."""
        start = max(place - self._longest_bytes + 1, 0)
        around = read(start, place - start + self._longest_bytes - 1)
        return any(
            around.find(token, max(place - start - len(token) + 1, 0), place - start + len(token) - 1) >= 0
            for token in self._special_bytes
        )
