"""Counting words: training needs nothing else of a text."""

from collections import Counter
from collections.abc import Mapping, Sequence

from minlm.tokenization.patterns import word_finder
from minlm.tokenization.pretokenize import PreTokenizer


class WordCounter:
    """Counts the words of texts.

    Args:
        special_tokens: a text is split where they occur; they are not counted.
        pattern: see `word_finder`.
    """

    def __init__(self, special_tokens: Sequence[str], pattern: str = "gpt2"):
        self._pretokenizer, self._find_words = PreTokenizer(special_tokens), word_finder(pattern)
        self._counts: Counter[bytes] = Counter()

    def add_text(self, text: bytes, errors: str = "strict") -> None:
        """Count the words of UTF-8 text.

        Raises:
            UnicodeDecodeError: a byte is not UTF-8. With `errors="surrogateescape"`, it counts as punctuation.
        """
        for ordinary in self._pretokenizer.split(str(text, "utf-8", errors))[::2]:
            self._counts.update(word.encode("utf-8", errors) for word in self._find_words(ordinary))

    def add_counts(self, counts: Mapping[bytes, int]) -> None:
        """Add the counts of another text."""
        self._counts.update(counts)

    def counts(self) -> Mapping[bytes, int]:
        """How often each word has occurred so far."""
        return self._counts
