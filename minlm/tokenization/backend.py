"""The choice between the plain and the compiled implementation of the tokenizer.

`WordCounter`, `learn_merges` and `Encoder` have a compiled form in `minlm.fast.tokenization`, with the same name,
arguments and results. This module alone decides which form runs. It is also the only one in this folder that imports
from the folders above.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from minlm.errors import MinlmError
from minlm.progress import log
from minlm.tokenization.encode import Encoder
from minlm.tokenization.patterns import PATTERNS
from minlm.tokenization.train import learn_merges
from minlm.tokenization.word_counter import WordCounter

if TYPE_CHECKING:
    from minlm.fast.tokenization.word_counts import WordCounts

BACKENDS = ("auto", "numba", "python")
PLAIN = SimpleNamespace(WordCounter=WordCounter, learn_merges=learn_merges, Encoder=Encoder)
WORTH_COMPILING = 20_000_000  # bytes of text: plain Python counts or encodes them in 5 s, compiling takes 15 to 20 s
TRAINING_COST = 20  # learning merges from one byte of distinct words takes as long as counting 20 bytes of text


def check_backend(name: str) -> None:
    """Raise `MinlmError` if there is no such backend."""
    if name not in BACKENDS:
        raise MinlmError(f"there is no backend {name!r}; take one of {', '.join(BACKENDS)}")


def choose_backend(name: str, num_bytes: int, pattern: str = "gpt2") -> str:
    """The backend for an amount of text. "auto" is "python" if there is little text and kernels are not compiled yet.

    A pattern of your own always is: the kernels know those that have a name.

    Raises:
        MinlmError: there is no such backend.
    """
    check_backend(name)
    if pattern not in PATTERNS:
        return "python"
    if name != "auto":
        return name
    from minlm.fast.tokenization.kernels import cache

    return "numba" if num_bytes > WORTH_COMPILING or cache.are_compiled() else "python"


def choose_backend_for_files(name: str, num_bytes: int, pattern: str = "gpt2") -> str:
    """`choose_backend`; plain Python that was not asked for is logged once per process."""
    chosen = choose_backend(name, num_bytes, pattern)
    if name != chosen == "python":
        _log_plain_python(pattern in PATTERNS)
    return chosen


@functools.cache
def _log_plain_python(named: bool) -> None:
    why = "compiling the kernels would take longer (--backend numba compiles them once)"
    if not named:
        why = f"a pattern of your own is much slower than {', '.join(PATTERNS)}"
    log.info(f"tokenizing in plain Python: {why}")


def choose_backend_for_words(name: str, word_counts: "WordCounts") -> str:
    """`choose_backend_for_files` for work on each distinct word of a text."""
    return choose_backend_for_files(name, TRAINING_COST * len(word_counts.joined))


def load_backend(name: str) -> Any:
    """`WordCounter`, `learn_merges` and `Encoder` as attributes: compiled for "numba", plain for "python".

    Raises:
        MinlmError: numba cannot be imported.
    """
    if name == "python":
        return PLAIN
    from minlm.fast.tokenization import compiled

    return compiled


def count_words_of_file(path: str | Path, special_tokens: Sequence[str], backend: str, pattern: str) -> "WordCounts":
    """The word counts of a text file of any size, or those in an `.npz` file."""
    from minlm.bulk.count_words import count_words
    from minlm.bulk.options import Options

    return count_words([path], special_tokens, Options(backend=backend), pattern=pattern)
