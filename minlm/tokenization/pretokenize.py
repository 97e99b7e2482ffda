"""How a text is cut into words before any merging.

No merge crosses a word boundary or a special token, so a tokenizer never learns tokens such as "dog." or "the dog", and
training needs only how often each word occurs. Every character is in exactly one word: joined, the words are the text
again.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

import regex

from minlm.errors import MinlmError

# GPT-2's pattern (Radford et al. 2019, encoder.py): a contraction, or a run of letters, of digits or of other visible
# characters, each with one space in front of it, or white space. A run of white space leaves its last character to the
# next word.
GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
find_words = regex.compile(GPT2_PATTERN).findall

# Where a text can be cut whatever comes next: after a visible character that is followed by one of another kind.
_find_last_cut = regex.compile(r"(?r)\p{L}(?=\P{L})|\p{N}(?=\P{N})|\S(?=\s)").search  # (?r) searches from the end
SEGMENT_CHARS = 1 << 13  # enough that a stream of single characters costs little more than one of long strings


class PreTokenizer:
    """Splits text at special tokens, and a stream of text into segments.

    Args:
        special_tokens: strings that are tokens wherever they occur; where several match, the longest wins.

    Raises:
        MinlmError: a special token is empty or occurs twice.
    """

    def __init__(self, special_tokens: Sequence[str] = ()):
        if "" in special_tokens or len(set(special_tokens)) < len(special_tokens):
            raise MinlmError(f"special tokens must be different and not empty, but are {list(special_tokens)}")
        longest_first = sorted(special_tokens, key=len, reverse=True)
        self._special = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if longest_first else None
        self._longest = len(longest_first[0]) if longest_first else 1

    def split(self, text: str) -> list[str]:
        """Ordinary text (perhaps empty) at even indices, special tokens at odd ones; joined they are `text`."""
        return self._special.split(text) if self._special else [text]

    def segments(self, chunks: Iterable[str]) -> Iterator[str]:
        """Regroup a stream of strings, however it is cut, into segments that have the words of the whole text.

        Holds one chunk, `SEGMENT_CHARS` characters or one word at a time, whichever is longest.
        """
        rest, enough = "", SEGMENT_CHARS
        for chunk in chunks:
            rest += chunk
            if len(rest) >= enough:
                cut = self._last_safe_cut(rest)
                if cut:
                    yield rest[:cut]
                rest = rest[cut:]
                enough = max(SEGMENT_CHARS, 2 * len(rest))  # a word without end is searched in linear time
        if rest:
            yield rest

    def _last_safe_cut(self, text: str) -> int:
        """The last place where `text` can be cut whatever comes next; 0 if there is none."""
        certain = len(text) - self._longest + 1  # a special token that starts before this place is complete
        match = _find_last_cut(text, 0, max(certain + 1, 0))
        cut = match.end() if match else 0
        for special in self._special.finditer(text) if self._special else ():
            if special.start() < certain:
                cut = max(cut, special.end())  # never inside a special token
        return cut
