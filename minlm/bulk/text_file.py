"""Text files of any size, read in parts that several threads can process."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from minlm.bulk.cuts import cut_after, next_cut, shard_range
from minlm.bulk.options import Options
from minlm.bulk.threads import map_in_order
from minlm.documents import SEPARATOR
from minlm.encodings import START_BYTES, how_to_convert
from minlm.errors import MinlmError
from minlm.tokenization.patterns import PATTERNS

Tool = TypeVar("Tool")
Result = TypeVar("Result")


class TextFile:
    """A UTF-8 file, or the shard of it that the options ask for, open for reading from several threads.

    Attributes:
        start, end: the bytes of the file that are read.

    Raises:
        MinlmError: the options ask for a shard, but `<|endoftext|>` is not a special token.
    """

    def __init__(self, path: str | Path, special_tokens: Sequence[str], options: Options, pattern: str = "gpt2"):
        if options.shard is not None and SEPARATOR not in special_tokens:
            raise MinlmError(f"shards start after {SEPARATOR}, so it must be one of the special tokens")
        self.path, self._options, self._has_name = path, options, pattern in PATTERNS
        self._special_tokens = [token.encode() for token in special_tokens]
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by __exit__)
        self._descriptor = self._file.fileno()
        self.start, self.end = 0, os.fstat(self._descriptor).st_size
        if options.shard is not None:
            self.start, self.end = shard_range(
                self.read, self.end, self._special_tokens, SEPARATOR.encode(), options.shard
            )

    def __enter__(self) -> "TextFile":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes, from byte `offset` on."""
        data = os.pread(self._descriptor, size, offset)
        while len(data) < size and (more := os.pread(self._descriptor, size - len(data), offset + len(data))):
            data += more
        return data

    def read_into(self, buffer: np.ndarray, offset: int) -> np.ndarray:
        """Fill a buffer (uint8) with the bytes from `offset` on; return the part that was filled."""
        done = 0
        while done < len(buffer) and (count := os.preadv(self._descriptor, [buffer[done:].data], offset + done)):
            done += count
        return buffer[:done]

    def parts(self) -> Iterator[tuple[int, int]]:
        """Start and end of each part. All parts together have the words of the whole text."""
        start = self.start
        while start < self.end:
            position = min(start + self._options.part_bytes, self.end)
            if self._has_name:
                cut = next_cut(self.read, position, self.end, self._special_tokens)
            else:  # any other cut could change a word
                cut = cut_after(SEPARATOR.encode(), self.read, position, self.end, self._special_tokens)
            yield start, cut
            start = cut

    def map(
        self, work: Callable[[Tool, np.ndarray, str], Result], tools: Sequence[Tool]
    ) -> Iterator[tuple[int, float, Result]]:
        """Yield, for each part in order, its size, the seconds of reading it, and `work(tool, content, errors)`.

        Each tool (a `WordCounter` or an `Encoder`) is used by one thread at a time.

        Raises:
            MinlmError: a byte is not UTF-8, and the option `keep_invalid` is off.
        """
        workers = [(tool, np.empty(2 * self._options.part_bytes, dtype=np.uint8)) for tool in tools]

        def handle(worker: tuple[Tool, np.ndarray], part: tuple[int, int]) -> tuple[int, float, Result]:
            (tool, buffer), (start, end) = worker, part
            began = time.perf_counter()
            room = buffer[: end - start] if end - start <= len(buffer) else np.empty(end - start, dtype=np.uint8)
            content = self.read_into(room, start)
            seconds = time.perf_counter() - began
            try:
                return end - start, seconds, work(tool, content, self._options.errors)
            except UnicodeDecodeError as error:
                advice = how_to_convert(self.read(0, START_BYTES), content.tobytes(), error.start)
                raise MinlmError(
                    f"{self.path} is not UTF-8: byte 0x{content[error.start]:02x} at offset {start + error.start}. "
                    f"{advice}; or keep such bytes with --invalid_utf8 keep"
                ) from None

        return map_in_order(handle, self.parts(), workers)

    def is_unfinished(self) -> bool:
        """Whether more than white space comes after the last `<|endoftext|>`."""
        size, separator = 64, SEPARATOR.encode()
        while True:
            tail = self.read(max(self.start, self.end - size), min(size, self.end - self.start))
            visible = tail.decode("utf-8", "surrogateescape").rstrip().encode("utf-8", "surrogateescape")
            if len(visible) >= len(separator) or size >= self.end - self.start:  # half a character counts as visible
                return bool(visible) and not visible.endswith(separator)
            size *= 2


def total_bytes(paths: Sequence[str | Path]) -> int:
    """The size of all files together.

    Raises:
        MinlmError: a file is missing, empty, or a folder.
    """
    for path in map(Path, paths):
        if not path.exists():
            raise MinlmError(f"there is no file {path}; check the name and the folder")
        if path.is_dir():
            raise MinlmError(f"{path} is a folder; name the files in it")
        if path.stat().st_size == 0:
            raise MinlmError(f"{path} is empty; leave it out, or check the step that made it")
    return sum(Path(path).stat().st_size for path in paths)
