"""How counting and encoding are done: compiled or in plain Python, with how many threads, on which part of a text."""

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from minlm.documents import SEPARATOR
from minlm.errors import MinlmError
from minlm.fast.tokenization.ranges import RANGE_BYTES, Range, default_threads, shard_range
from minlm.tokenization.pretokenize import PreTokenizer, Read

BACKENDS = {"numba": "minlm.fast.tokenization.backend", "python": "minlm.tokenization.learn_merges"}


def load_backend(name: str) -> ModuleType:
    """The module with `WordCounter`, `learn_merges` and `WordEncoder` of a backend.

    Raises:
        MinlmError: there is no such backend, or numba cannot be imported.
    """
    if name not in BACKENDS:
        raise MinlmError(f"there is no backend {name!r}; take one of {', '.join(BACKENDS)}")
    return import_module(BACKENDS[name])


@dataclass(frozen=True)
class Options:
    """How to count or encode; the result does not depend on it, save for `shard` and `keep_invalid`.

    Args:
        threads: at most so many; None for one on each core.
        shard: (i, n) for part i of n (from 1 on) of each text, cut where documents begin; None for the whole.
        backend: "numba", or "python" for the slow reference.
        keep_invalid: take bytes that are not UTF-8 for characters instead of raising an error.
    """

    threads: int | None = None
    shard: tuple[int, int] | None = None
    backend: str = "numba"
    keep_invalid: bool = False

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise MinlmError(f"threads must be 1 or more, not {self.threads}")
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            raise MinlmError(f"there is no shard {self.shard[0]}/{self.shard[1]}; 1/4 is the first of four")

    def threads_for(self, num_bytes: int) -> int:
        """As many threads as may be had and have something to do."""
        return min(self.threads or default_threads(), num_bytes // RANGE_BYTES + 1)

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
