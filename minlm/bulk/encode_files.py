"""Encoding text files to one-dimensional `.npy` files, from which training reads."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from minlm.atomic import atomic_write
from minlm.bulk.options import DEFAULT, Options
from minlm.bulk.text_file import TextFile, total_bytes
from minlm.bulk.token_file import RECORDED_SIZE, token_record
from minlm.documents import SEPARATOR
from minlm.errors import MinlmError
from minlm.progress import Progress
from minlm.tokenization import BPETokenizer
from minlm.tokenization.backend import choose_backend_for_files

OUTPUT_DTYPES = ("uint16", "uint32", "int32", "int64")


@dataclass
class EncodedFile:
    """A finished `.npy` file."""

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
    options: Options = DEFAULT,
) -> Iterator[EncodedFile]:
    """Encode each text to `{output_dir}/{its name}.npy`, one per step of the returned iterator.

    The ids are those that `tokenizer.encode` returns for the whole text. If more than white space comes after the last
    `<|endoftext|>`, one is added, so that every document is followed by one. Shard 2 of 4 of a.txt becomes
    a.2-of-4.npy; the ids of all shards, joined, are those of the text.

    Args:
        tokenizer: has `<|endoftext|>` as a special token.
        inputs: UTF-8 texts.
        output_dir: created if missing.
        output_dtype: one of `OUTPUT_DTYPES`; None for uint16, or uint32 if the vocabulary needs more.
        options: how to encode; the backend is the tokenizer's.

    Raises:
        MinlmError: an input is missing, empty or not UTF-8; two inputs have the same name; the dtype is too small;
            the output cannot be written. Invalid UTF-8 is found while encoding, all else before anything is written.
    """
    dtype = choose_dtype(tokenizer, output_dtype)
    if SEPARATOR not in tokenizer.special_tokens:
        raise MinlmError(f"{SEPARATOR} ends every document, so it must be one of the special tokens")
    part = ".{}-of-{}".format(*options.shard) if options.shard else ""
    outputs: dict[Path, str | Path] = {}
    for path in inputs:
        output = Path(output_dir) / f"{Path(path).stem}{part}.npy"
        if output in outputs:
            raise MinlmError(f"{outputs[output]} and {path} would both become {output}; rename one of them")
        outputs[output] = path
    num_bytes = options.share_of(total_bytes(inputs))
    options = replace(options, backend=choose_backend_for_files(tokenizer.backend, num_bytes, tokenizer.pattern))
    return (_encode_file(tokenizer, path, output, dtype, options) for output, path in outputs.items())


def _encode_file(
    tokenizer: BPETokenizer, path: str | Path, output: Path, dtype: np.dtype, options: Options
) -> EncodedFile:
    started = time.perf_counter()
    with (
        TextFile(path, tokenizer.special_tokens, options, tokenizer.pattern) as text,
        atomic_write(output, "wb") as file,
    ):
        num_bytes = text.end - text.start
        threads = options.threads_for(num_bytes, options.backend)
        encoders = [tokenizer.new_encoder(options.backend) for _ in range(threads)]
        with Progress(num_bytes, f"tokenizing {path}", "B") as progress:
            num_tokens = _write_npy(file, _encode_parts(text, encoders, dtype, progress), dtype)
    if output.stat().st_size >= RECORDED_SIZE:
        token_record(output)
    return EncodedFile(output, num_tokens, num_bytes, dtype, time.perf_counter() - started)


def _encode_parts(text: TextFile, encoders: Sequence[Any], dtype: np.dtype, progress: Progress) -> Iterator[np.ndarray]:
    """The ids of a text, part by part, with an `<|endoftext|>` after the last document."""

    def encode(encoder: Any, content: np.ndarray, errors: str) -> np.ndarray:
        return np.asarray(encoder.encode(content, errors), dtype=dtype)

    for num_bytes, _, ids in text.map(encode, encoders):
        yield ids
        progress.update(num_bytes)
    if text.is_unfinished():
        yield np.asarray(encoders[0].encode(SEPARATOR.encode()), dtype=dtype)


def _write_npy(file: IO[bytes], arrays: Iterable[np.ndarray], dtype: np.dtype) -> int:
    """Write arrays as one. The header is written first, and again when the length is known."""
    _write_header(file, dtype, 0)
    num_tokens = 0
    for array in arrays:
        file.write(array.data)
        num_tokens += len(array)
    file.seek(0)
    _write_header(file, dtype, num_tokens)
    return num_tokens


def _write_header(file: IO[bytes], dtype: np.dtype, length: int) -> None:
    """Write a header whose size does not depend on the length of the array: numpy pads it."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)


def choose_dtype(tokenizer: BPETokenizer, name: str | None) -> np.dtype:
    """The dtype of this name, or the smallest that fits; raises `MinlmError` if the vocabulary does not fit."""
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
