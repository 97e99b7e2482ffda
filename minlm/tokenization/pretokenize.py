"""Cutting a text into words before any merging.

No merge crosses a word boundary or a special token, so a tokenizer never learns tokens such as "dog." or "the dog", and
training needs only how often each word occurs. Every character is in exactly one word: joined, the words are the text
again.
"""

import re
from collections.abc import Sequence

import regex

from minlm.errors import MinlmError

# GPT-2's pattern (Radford et al. 2019, encoder.py): a contraction; a run of letters, of digits or of other visible
# characters, each with an optional leading space; or white space. A run of white space leaves its last character to the
# next word.
GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
find_words = regex.compile(GPT2_PATTERN).findall


class PreTokenizer:
    """Splits text at special tokens.

    Args:
        special_tokens: strings that are one token wherever they occur; where several match, the longest wins.

    Raises:
        MinlmError: a special token is empty or occurs twice.
    """

    def __init__(self, special_tokens: Sequence[str] = ()):
        if "" in special_tokens or len(set(special_tokens)) < len(special_tokens):
            raise MinlmError(f"special tokens must be different and not empty, but are {list(special_tokens)}")
        longest_first = sorted(special_tokens, key=len, reverse=True)
        self.pattern = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if longest_first else None

    def split(self, text: str) -> list[str]:
        """Ordinary text (perhaps empty) at even indices, special tokens at odd ones; joined they are `text`."""
        return self.pattern.split(text) if self.pattern else [text]
