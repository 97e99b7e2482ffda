"""How counting and encoding are done: compiled or in plain Python, with how many threads, on which part of a text."""

import functools
import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from minlm.cores import available_cores
from minlm.documents import SEPARATOR
from minlm.errors import MinlmError
from minlm.fast.tokenization.kernels import cache
from minlm.fast.tokenization.ranges import RANGE_BYTES, Range, shard_range
from minlm.progress import log
from minlm.tokenization.pretokenize import PreTokenizer, Read

MODULES = {"numba": "minlm.fast.tokenization.backend", "python": "minlm.tokenization.learn_merges"}
BACKENDS = ("auto", *MODULES)
WORTH_COMPILING = 20_000_000  # bytes of text: plain Python counts or encodes them in 5 s, kernels compile in 15 to 20
BYTES_PER_BYTE_OF_WORDS = 20  # learning from a byte of the distinct words takes as long as counting so many of a text


def choose_backend(name: str, num_bytes: int) -> str:
    """The backend for so much text: "auto" is "python" where kernels would have to be compiled for little.

    Raises:
        MinlmError: there is no such backend.
    """
    if name not in BACKENDS:
        raise MinlmError(f"there is no backend {name!r}; take one of {', '.join(BACKENDS)}")
    if name != "auto":
        return name
    return "numba" if num_bytes > WORTH_COMPILING or cache.are_compiled() else "python"


def choose_backend_for_files(name: str, num_bytes: int) -> str:
    """`choose_backend`; a log line says, once, if "auto" is plain Python."""
    chosen = choose_backend(name, num_bytes)
    if name == "auto" and chosen == "python":
        _say_that_it_is_plain()
    return chosen


@functools.cache
def _say_that_it_is_plain() -> None:
    log.info("tokenizing in plain Python: to compile the kernels would take longer (--backend numba does, once)")


def load_backend(name: str) -> ModuleType:
    """The module with `WordCounter`, `learn_merges` and `WordEncoder` of a backend that has been chosen.

    Raises:
        MinlmError: numba cannot be imported.
    """
    return import_module(MODULES[name])


@dataclass(frozen=True)
class Options:
    """How to count or encode; the result does not depend on it, save for `shard` and `keep_invalid`.

    Args:
        threads: at most so many; None for one on each core. Plain Python takes one: more would wait for each other.
        shard: (i, n) for part i of n (from 1 on) of each text, cut where documents begin; None for the whole.
        backend: "numba", "python" for the slow reference, or "auto" for numba save for little text without kernels.
        keep_invalid: take bytes that are not UTF-8 for characters instead of raising an error.
    """

    threads: int | None = None
    shard: tuple[int, int] | None = None
    backend: str = "auto"
    keep_invalid: bool = False

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise MinlmError(f"threads must be 1 or more, not {self.threads}")
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            raise MinlmError(f"there is no shard {self.shard[0]}/{self.shard[1]}; 1/4 is the first of four")

    def threads_for(self, num_bytes: int, backend: str) -> int:
        """As many threads as may be had and have something to do."""
        if backend == "python":
            return 1
        return min(self.threads or available_cores(), num_bytes // RANGE_BYTES + 1)

    def share_of(self, num_bytes: int) -> int:
        """About how many of these bytes are asked for."""
        return num_bytes // self.shard[1] if self.shard else num_bytes

    def range_of(self, read: Read, path: str | Path, pretokenizer: PreTokenizer) -> Range:
        """The bytes of a file that are asked for.

        Raises:
            MinlmError: shards are wanted, but `<|endoftext|>` is no special token.
        """
        size = os.path.getsize(path)
        if self.shard is None:
            return 0, size
        if SEPARATOR not in pretokenizer.special_tokens:
            raise MinlmError(f"shards begin behind {SEPARATOR}, so it must be one of the special tokens")
        return shard_range(pretokenizer, read, size, SEPARATOR, self.shard)


DEFAULT = Options()
