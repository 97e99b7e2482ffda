"""Texts of any size, read in ranges that can be handled one by one and at the same time."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

import numpy as np

from minlm.encodings import START_BYTES, how_to_convert
from minlm.errors import MinlmError
from minlm.tokenization.pretokenize import PreTokenizer, Read

RANGE_BYTES = 1 << 22  # what a thread is given at once

Range = tuple[int, int]
Worker = TypeVar("Worker")
Result = TypeVar("Result")


class InvalidUtf8(Exception):
    """Byte `offset` of a text is not UTF-8."""

    def __init__(self, offset: int):
        super().__init__(offset)
        self.offset = offset


def total_bytes(paths: Sequence[str | Path]) -> int:
    """The size of all files together.

    Raises:
        MinlmError: one is missing, a folder, or empty.
    """
    for path in map(Path, paths):
        if not path.exists():
            raise MinlmError(f"there is no file {path}; check the name and the folder")
        if path.is_dir():
            raise MinlmError(f"{path} is a folder; name the files in it")
        if path.stat().st_size == 0:
            raise MinlmError(f"{path} is empty; leave it out, or check the step that made it")
    return sum(Path(path).stat().st_size for path in paths)


class OpenText:
    """Reads from any place of a file, from several threads at once."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor

    def __call__(self, place: int, size: int) -> bytes:
        """Up to `size` bytes from byte `place` on."""
        data = os.pread(self.descriptor, size, place)
        while len(data) < size and (more := os.pread(self.descriptor, size - len(data), place + len(data))):
            data += more
        return data

    def into(self, buffer: np.ndarray, place: int) -> np.ndarray:
        """Fill a buffer from byte `place` on; returns it, or as much as there was to read."""
        done = 0
        while done < len(buffer) and (count := os.preadv(self.descriptor, [buffer[done:].data], place + done)):
            done += count
        return buffer if done == len(buffer) else buffer[:done]


@contextmanager
def open_text(path: str | Path) -> Iterator[OpenText]:
    """Open a file for reading."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield OpenText(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explained(path: str | Path, start: int, content: np.ndarray) -> Iterator[None]:
    """Turn `InvalidUtf8` of content that starts at byte `start` of a file into an error that says where it is."""
    try:
        yield
    except InvalidUtf8 as error:
        with open(path, "rb") as file:
            advice = how_to_convert(file.read(START_BYTES), content.tobytes(), error.offset)
        raise MinlmError(
            f"{path} is not UTF-8: byte 0x{content[error.offset]:02x} at offset {start + error.offset}. "
            f"{advice}; or keep such bytes with --invalid_utf8 keep"
        ) from None


def ranges(pretokenizer: PreTokenizer, read: Read, whole: Range, size: int) -> Iterator[Range]:
    """Cut a range of a text into parts of about `size` bytes whose pre-tokens can be found one by one."""
    start, end = whole
    while start < end:
        cut = pretokenizer.next_cut(read, min(start + size, end), end)
        yield start, cut
        start = cut


def shard_range(pretokenizer: PreTokenizer, read: Read, size: int, separator: str, shard: tuple[int, int]) -> Range:
    """The range of shard i of n (from 1 on) of a text of `size` bytes; all of them together are the text.

    A shard begins where a document does: behind the first separator that ends at byte size · (i - 1) / n or later.
    """

    def boundary(part: int) -> int:
        place = max(size * part // shard[1] - len(separator.encode()), 0)
        while part > 0 and place < size:
            block = read(place, 1 << 20)
            found = block.find(separator.encode())
            if found >= 0:
                place += found + len(separator.encode())
                if not pretokenizer.is_in_special(read, place):
                    return place
            else:
                place += max(len(block) - len(separator.encode()) + 1, 1)
        return 0 if part == 0 else size

    return boundary(shard[0] - 1), boundary(shard[0])


def is_unfinished(read: Read, text: Range, separator: bytes) -> bool:
    """Whether more than white space stands behind the last separator of a range."""
    start, end = text
    size = 64
    while True:
        tail = read(max(start, end - size), min(size, end - start))
        visible = tail.decode("utf-8", "surrogateescape").rstrip().encode("utf-8", "surrogateescape")
        if len(visible) >= len(separator) or size >= end - start:  # (a first character cut in two looks visible)
            return bool(visible) and not visible.endswith(separator)
        size *= 2


def map_in_order(
    work: Callable[[Worker, Range], Result], parts: Iterator[Range], workers: Sequence[Worker]
) -> Iterator[Result]:
    """`work(worker, part)` for each part, in their order; each worker is a thread, or the caller if there is one."""
    if len(workers) == 1:
        yield from (work(workers[0], part) for part in parts)
        return
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def task(part: Range) -> Result:
        worker = free.get()
        try:
            return work(worker, part)
        finally:
            free.put(worker)

    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(len(workers)) as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(task, part))
                if len(waiting) > 2 * len(workers):  # bounds the memory for results
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
