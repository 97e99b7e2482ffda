"""A corpus as ids: text file in, one-dimensional `.npy` out, which training maps into memory."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from minlm.corpus.documents import SEPARATOR
from minlm.errors import MinlmError
from minlm.files import atomic_write
from minlm.progress import Progress
from minlm.tokenization.bpe import BPETokenizer
from minlm.tokenization.text import read_text, total_bytes

OUTPUT_DTYPES = ("uint16", "uint32", "int32", "int64")


@dataclass
class EncodedFile:
    """One finished `.npy`."""

    path: Path
    num_tokens: int
    num_bytes: int  # of text
    dtype: np.dtype
    seconds: float


def encode_files(
    tokenizer: BPETokenizer,
    inputs: Sequence[str | Path],
    output_dir: str | Path,
    output_dtype: str | None = None,
) -> Iterator[EncodedFile]:
    """Encode each text to `{output_dir}/{its name}.npy`, one for each step of the returned iterator.

    The ids are those of the whole text, as `tokenizer.encode` gives them; if text (more than white space) stands
    behind the last `<|endoftext|>`, one is added at the end, so that every document is followed by one.

    Args:
        tokenizer: has `<|endoftext|>` as a special token.
        inputs: UTF-8 texts.
        output_dir: is made if need be.
        output_dtype: one of `OUTPUT_DTYPES`; None takes uint16, or uint32 if the vocabulary needs more.

    Raises:
        MinlmError: an input is missing, empty or not UTF-8; two inputs have the same name; the dtype is too small;
            the output cannot be written. Except for bad UTF-8, nothing has been written then.
    """
    dtype = _choose_dtype(tokenizer, output_dtype)
    if SEPARATOR not in tokenizer.special_tokens:
        raise MinlmError(f"{SEPARATOR} ends every document, so it must be one of the special tokens")
    outputs: dict[Path, str | Path] = {}
    for path in inputs:
        output = Path(output_dir) / f"{Path(path).stem}.npy"
        if output in outputs:
            raise MinlmError(f"{outputs[output]} and {path} would both become {output}; rename one of them")
        outputs[output] = path
    total_bytes(inputs)
    return (_encode_file(tokenizer, path, output, dtype) for output, path in outputs.items())


def _encode_file(tokenizer: BPETokenizer, path: str | Path, output: Path, dtype: np.dtype) -> EncodedFile:
    start = time.perf_counter()
    num_bytes = os.path.getsize(path)
    with Progress(num_bytes, f"tokenizing {path}", "B") as progress, atomic_write(output, "wb") as file:
        num_tokens = _write_npy(file, _arrays(tokenizer, read_text(path, progress), dtype), dtype)
    return EncodedFile(output, num_tokens, num_bytes, dtype, time.perf_counter() - start)


def _arrays(tokenizer: BPETokenizer, text: Iterable[str], dtype: np.dtype) -> Iterator[np.ndarray]:
    """The ids of a text in pieces, with `<|endoftext|>` behind the last document."""
    unfinished = False  # is there text since the last separator?
    for segment in tokenizer.pretokenizer.segments(text):
        yield np.array(tokenizer.encode(segment), dtype=dtype)
        _, separator, last = segment.rpartition(SEPARATOR)
        unfinished = bool(last.strip()) or (unfinished and not separator)
    if unfinished:
        yield np.array(tokenizer.encode(SEPARATOR), dtype=dtype)


def _write_npy(file: IO[bytes], arrays: Iterable[np.ndarray], dtype: np.dtype) -> int:
    """Write one array a piece at a time. The header comes first and is written again when the length is known."""
    _write_header(file, dtype, 0)
    num_tokens = 0
    for array in arrays:
        file.write(array.data)
        num_tokens += len(array)
    file.seek(0)
    _write_header(file, dtype, num_tokens)
    return num_tokens


def _write_header(file: IO[bytes], dtype: np.dtype, length: int) -> None:
    """numpy pads the header so that its size does not depend on the length of the array."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)


def _choose_dtype(tokenizer: BPETokenizer, name: str | None) -> np.dtype:
    largest = max(tokenizer.vocab)
    if name is None:
        return np.dtype("uint16" if largest <= np.iinfo(np.uint16).max else "uint32")
    if name not in OUTPUT_DTYPES:
        raise MinlmError(f"output_dtype is {name!r}; it must be one of {', '.join(OUTPUT_DTYPES)}")
    if largest > np.iinfo(name).max:
        raise MinlmError(
            f"{name} ends at {np.iinfo(name).max:,}, but the vocabulary has ids up to {largest:,}: take uint32"
        )
    return np.dtype(name)
