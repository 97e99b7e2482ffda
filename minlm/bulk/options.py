"""The options of counting and encoding whole files."""

from dataclasses import dataclass

from minlm.cores import available_cores
from minlm.errors import MinlmError


@dataclass(frozen=True)
class Options:
    """How to count or encode files. Only `shard` and `keep_invalid` change the result.

    Args:
        threads: number of threads at most; None for one per core. Plain Python always uses one.
        shard: (i, n) for part i of n (counted from 1) of each text, cut between documents; None for the whole text.
        backend: "numba", "python", or "auto" for the faster one (see `minlm.tokenization.backend`).
        keep_invalid: treat bytes that are not UTF-8 as punctuation instead of raising an error.
        part_bytes: about how much text a thread reads and processes at a time.
    """

    threads: int | None = None
    shard: tuple[int, int] | None = None
    backend: str = "auto"
    keep_invalid: bool = False
    part_bytes: int = 1 << 22

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise MinlmError(f"threads must be 1 or more, not {self.threads}")
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            raise MinlmError(f"there is no shard {self.shard[0]}/{self.shard[1]}; 1/4 is the first of four")

    @property
    def errors(self) -> str:
        """The error handler of `bytes.decode` for bytes that are not UTF-8."""
        return "surrogateescape" if self.keep_invalid else "strict"

    def threads_for(self, num_bytes: int, backend: str) -> int:
        """The number of threads for so much text."""
        if backend == "python":
            return 1
        return min(self.threads or available_cores(), num_bytes // self.part_bytes + 1)

    def share_of(self, num_bytes: int) -> int:
        """About how many of these bytes are in the shard."""
        return num_bytes // self.shard[1] if self.shard else num_bytes


DEFAULT = Options()
