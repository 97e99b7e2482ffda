"""The choice of a pattern: what a word is, within which tokens are merged."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import regex

from minlm.errors import MinlmError
from minlm.tokenization.pretokenize import GPT2_PATTERN

PATTERNS = {
    "gpt2": GPT2_PATTERN,
    # GPT-4's (cl100k_base in tiktoken). Any character can lead a word of letters, not only a space; three digits are
    # one word; line ends belong to the punctuation or the white space before them.
    "gpt4": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    ),
    # GPT-2's with combining marks as letters: to GPT-2, the vowel signs of Hindi or Tamil are punctuation.
    "marks": r"'(?:[sdmt]|ll|ve|re)| ?[\p{L}\p{M}]+| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+",
}


@cache
def word_finder(pattern: str) -> Callable[[str], list[str]]:
    """`find_words` for another pattern: one of `PATTERNS` by name, or a regular expression.

    What a regular expression leaves between two matches is a word, too.

    Raises:
        MinlmError: it is not a regular expression.
    """
    if pattern in PATTERNS:
        return regex.compile(PATTERNS[pattern]).findall
    try:
        matches = regex.compile(pattern).finditer
    except regex.error as error:
        raise MinlmError(f"the pattern {pattern!r} is none of {', '.join(PATTERNS)}, and no regex: {error}") from error

    def words(text: str) -> list[str]:
        bounds = sorted({0, len(text)}.union(*(match.span() for match in matches(text))))
        return [text[start:end] for start, end in pairwise(bounds)]

    return words
