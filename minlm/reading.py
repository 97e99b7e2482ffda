"""Reading files that may be damaged or foreign: every error of a parser becomes one clear MinlmError.

No function here needs more memory than a small multiple of the file's size.
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

# What parsers raise for unexpected bytes. RuntimeError includes NotImplementedError and RecursionError; ValueError
# includes the errors of Unicode, JSON and pandas.
UNREADABLE = (
    ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, SyntaxError, TypeError, ValueError,
    csv.Error, pickle.PickleError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

_short = reprlib.Repr()
_short.maxstring = 60
quote = _short.repr  # a string or bytes in quotes; "..." replaces the middle of a long one


@contextmanager
def reading(path: str | Path, kind: str, remedy: str) -> Iterator[None]:
    """Turn the errors of a block that reads the file `path` into a MinlmError.

    Args:
        path: the file.
        kind: what the file should be, for example "a vocabulary".
        remedy: a sentence that says what to do if it is not.

    Raises:
        DamagedFileError: the file is damaged or of another kind.
        MinlmError: the file does not exist.
        OSError: the operating system refuses to read the file.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise MinlmError(f"{path}: there is no such file. {remedy}") from error
    except (OSError, *UNREADABLE) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # these two mean invalid offsets
            raise
        if "allocate memory" in str(error):  # a RuntimeError of torch; the file may be valid
            raise
        reason = explain(error)
        raise DamagedFileError(f"{path} is not {kind}, or is damaged ({reason}). {remedy}", reason) from error


def explain(error: Exception) -> str:
    """Describe an error of a parser in a few words, on one line."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 at offset {error.start}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):
        return f"it lacks {quote(error.args[0])}" if error.args else "something is missing"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()[:200].rstrip(".")


def parse_json(text: str) -> Any:
    """`json.loads`, but strict: NaN, Infinity, duplicate names and unpaired surrogates are errors.

    Raises:
        ValueError: the text is not strict JSON.
        RecursionError: it is nested too deeply.
    """
    value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # fails for an unpaired surrogate
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
    """Open an uncompressed zip archive, as numpy and torch write it, and check its sizes and checksums.

    All entries together are not larger than the file.

    Raises:
        One of UNREADABLE, or OSError: the archive is damaged or of another kind.
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


def check_array(file: IO[bytes], size: int) -> tuple[tuple[int, ...], Any]:
    """Check that the header of a `.npy` file matches its `size` in bytes, and return to the start of the file.

    Returns:
        the shape and the dtype that it states.

    Raises:
        One of UNREADABLE: it does not match, or is damaged.
    """
    from numpy.lib import format as npy  # late: the Snakefile imports this module and must start quickly

    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in readers:
        raise ValueError(f"its format is version {version[0]}.{version[1]}")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject or dtype.itemsize == 0 or any(length < 0 for length in shape):
        raise ValueError(f"its header states an array of {dtype} and shape {shape}")
    stated, actual = math.prod(shape) * dtype.itemsize, size - file.tell()
    if stated != actual:
        raise ValueError(f"its header states {stated} bytes of data, but it has {actual}")
    file.seek(0)
    return shape, dtype
