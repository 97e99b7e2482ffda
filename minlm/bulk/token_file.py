"""Reading a `.npy` of token ids piece by piece, and the record of what is in it.

There is no memory map: each page of one that has been read counts as memory of the process, and Slurm ends jobs that
use more than they asked for. What is read in pieces stays in the system's file cache, which it can take back.
"""

import hashlib
import json
import os
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from minlm.atomic import atomic_write
from minlm.errors import MinlmError
from minlm.progress import Progress
from minlm.reading import check_array, reading

DTYPES = ("uint16", "uint32", "int32", "int64")
BLOCK = 1 << 22  # token ids read at a time
RECORDED_SIZE = 1 << 26  # bytes; smaller files are read again in less time than a record is worth


class TokenFile:
    """The ids in a one-dimensional `.npy` file: a length, and slices that are read when they are asked for.

    Raises:
        MinlmError: the file is missing, damaged, empty or not such an array.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        with reading(path, "a complete .npy file of tokens", "Make it with the tokenize program."):
            with open(path, "rb") as file:
                self.status = os.fstat(file.fileno())
                shape, self.dtype = check_array(file, self.status.st_size)
                self._file = os.dup(file.fileno())
            weakref.finalize(self, os.close, self._file)
            if self.dtype.name not in DTYPES or len(shape) != 1:
                found = f"{self.dtype} of shape {shape}"
                raise ValueError(f"it must be one-dimensional {', '.join(DTYPES)}, not {found}")
            if shape == (0,):
                raise ValueError("it has no tokens")
            (self.length,) = shape
            self.header = os.pread(self._file, self.status.st_size - self.length * self.dtype.itemsize, 0)

    def __len__(self) -> int:
        """The number of tokens."""
        return self.length

    def __getitem__(self, index: slice, /) -> np.ndarray:
        """The tokens of a contiguous range; read-only."""
        start, stop, _ = index.indices(self.length)
        size = max(0, stop - start) * self.dtype.itemsize
        data = os.pread(self._file, size, len(self.header) + start * self.dtype.itemsize)
        if len(data) != size:
            raise MinlmError(f"{self.path}: could not read tokens {start:,} to {stop:,}. Has the file been replaced?")
        return np.frombuffer(data, self.dtype)


def token_record(path: str | Path) -> dict[str, Any]:
    """What is in a token file: `sha256` of the whole file, `smallest` and `largest` id.

    The record of a large file is kept beside it, in `.NAME.record`, and holds as long as the file's size and time of
    change stay. Otherwise the file is read.

    Raises:
        MinlmError: see `TokenFile`.
    """
    tokens = TokenFile(path)
    known = {"size": tokens.status.st_size, "mtime_ns": tokens.status.st_mtime_ns}
    place = tokens.path.with_name(f".{tokens.path.name}.record")
    with suppress(OSError, ValueError, TypeError, KeyError):  # missing or damaged
        record: dict[str, Any] = json.loads(place.read_text())
        if {name: record[name] for name in known} == known:
            return {"sha256": str(record["sha256"]), **{name: int(record[name]) for name in ("smallest", "largest")}}
    record = _read_through(tokens)
    if known["size"] >= RECORDED_SIZE:
        with suppress(MinlmError), atomic_write(place) as file:  # the folder may be read-only
            json.dump(known | record, file)
    return record


def _read_through(tokens: TokenFile) -> dict[str, Any]:
    digest = hashlib.sha256(tokens.header)
    smallest, largest = np.iinfo(np.int64).max, 0
    with Progress(len(tokens), f"checking {tokens.path}", "tokens") as progress:
        for start in range(0, len(tokens), BLOCK):
            block = tokens[start : start + BLOCK]
            digest.update(block.data)
            smallest, largest = min(smallest, int(block.min())), max(largest, int(block.max()))
            progress.update(len(block))
    return {"sha256": digest.hexdigest(), "smallest": smallest, "largest": largest}
