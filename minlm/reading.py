"""Reading files that may be damaged or made by somebody else: whatever a parser raises becomes one clear error.

Nothing here, and nothing read through it, allocates more than a small multiple of the file's size.
"""

import csv
import errno
import json
import math
import os
import pickle
import reprlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from minlm.errors import DamagedFileError, MinlmError

# What the parsers in use raise for bytes they do not expect. RuntimeError includes NotImplementedError and
# RecursionError, ValueError all errors of Unicode, JSON and pandas.
UNREADABLE = (
    ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, SyntaxError, TypeError, ValueError,
    csv.Error, pickle.PickleError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

_short = reprlib.Repr()
_short.maxstring = 60
quote = _short.repr  # a string or bytes in quotes, with its middle left out if it is long


@contextmanager
def reading(path: str | Path, what: str, remedy: str) -> Iterator[None]:
    """Within the block the file `path` is read as `what` ("a vocabulary"); `remedy` is the sentence that helps.

    Raises:
        DamagedFileError: it is something else, or damaged.
        MinlmError: it is not there.
        OSError: the system does not let us read it.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise MinlmError(f"{path}: there is no such file. {remedy}") from error
    except (OSError, *UNREADABLE) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # those come from absurd offsets
            raise
        if "allocate memory" in str(error):  # torch's RuntimeError; the file may be sound
            raise
        reason = explain(error)
        raise DamagedFileError(f"{path} is not {what}, or is damaged ({reason}). {remedy}", reason) from error


def explain(error: Exception) -> str:
    """An error of a parser in a few words, on one line."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 at offset {error.start}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):
        return f"it lacks {quote(error.args[0])}" if error.args else "something is missing"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()[:200].rstrip(".")


def parse_json(text: str) -> Any:
    """`json.loads` without its leniency: NaN, Infinity, a name twice in an object and half a character are errors.

    Raises:
        ValueError: it is no such JSON.
        RecursionError: it is nested too deeply.
    """
    value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # fails for half of a surrogate pair
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"it has {quote(name)} twice")
        found[name] = value
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def open_stored_zip(handle: IO[bytes]) -> zipfile.ZipFile:
    """Open a zip archive of entries as they are, not compressed, and check all sizes and checksums.

    numpy and torch write such archives. What is read from one is never larger than its file.

    Raises:
        One of UNREADABLE, or OSError: it is no such archive, or damaged.
    """
    size = handle.seek(0, os.SEEK_END)
    archive = zipfile.ZipFile(handle)
    entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("its entries are compressed")
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError("its entries are larger than the file")
    if len({entry.filename for entry in entries}) < len(entries):
        raise ValueError("it has an entry twice")
    if (entry := archive.testzip()) is not None:
        raise zipfile.BadZipFile(f"the checksum of {quote(entry)} is wrong")
    return archive


def check_array(file: IO[bytes], size: int) -> None:
    """Check that the header of a `.npy` file of `size` bytes states what follows it; leaves the file at its start.

    Raises:
        One of UNREADABLE: it does not.
    """
    from numpy.lib import format as npy  # not at the top: the Snakefile reads files too, and is to start quickly

    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in readers:
        raise ValueError(f"its format is version {version[0]}.{version[1]}")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject or dtype.itemsize == 0 or any(length < 0 for length in shape):
        raise ValueError(f"its header states an array of {dtype} and shape {shape}")
    stated, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if stated != there:
        raise ValueError(f"its header states {stated} bytes of data, but there are {there}")
    file.seek(0)
