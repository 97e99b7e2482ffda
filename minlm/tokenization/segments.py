"""Cutting a stream of text where no word or special token can be cut."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import regex

from minlm.tokenization.patterns import PATTERNS
from minlm.tokenization.pretokenize import PreTokenizer

SEGMENT_CHARS = 1 << 13  # enough that a stream of single characters costs little more than one of long strings

# With each pattern that has a name, a text can be cut here, whatever comes next. (?r) searches from the end.
_find_last_cut = regex.compile(r"(?r)\p{L}(?=[^\p{L}\p{M}])|\p{N}(?=\P{N})|\S(?=[^\S\r\n])").search


def segments(chunks: Iterable[str], special_tokens: Sequence[str] = (), pattern: str = "gpt2") -> Iterator[str]:
    """Regroup a stream of strings into segments that together have the words of the whole text.

    Holds one chunk, `SEGMENT_CHARS` characters or one word at a time, whichever is longest.

    Args:
        chunks: the text, cut anywhere.
        special_tokens: never cut.
        pattern: see `word_finder`; with one of your own, only the ends of special tokens are known to be safe.
    """
    find_cut = _find_last_cut if pattern in PATTERNS else lambda *_: None
    pretokenizer, longest = PreTokenizer(special_tokens), max(map(len, special_tokens), default=1)
    rest, enough = "", SEGMENT_CHARS
    for chunk in chunks:
        rest += chunk
        if len(rest) >= enough:
            cut = _last_safe_cut(rest, pretokenizer, longest, find_cut)
            if cut:
                yield rest[:cut]
            rest = rest[cut:]
            enough = max(SEGMENT_CHARS, 2 * len(rest))  # so the time for a word of any length is linear
    if rest:
        yield rest


def _last_safe_cut(text: str, pretokenizer: PreTokenizer, longest: int, find_cut: Callable[..., Any]) -> int:
    """The last position where `text` can be cut, whatever comes next; 0 if there is none."""
    certain = len(text) - longest + 1  # a special token that starts before this position is complete
    match = find_cut(text, 0, max(certain + 1, 0))
    cut = match.end() if match else 0
    for special in pretokenizer.pattern.finditer(text) if pretokenizer.pattern else ():
        if special.start() < certain:
            cut = max(cut, special.end())  # never inside a special token
    return cut
