"""A corpus as ids: text file in, one-dimensional `.npy` out, which training maps into memory."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from minlm.atomic import atomic_write
from minlm.documents import SEPARATOR
from minlm.errors import MinlmError
from minlm.fast.tokenization import ranges as text
from minlm.fast.tokenization.options import DEFAULT, Options, choose_backend_for_files
from minlm.progress import Progress
from minlm.tokenization.bpe import BPETokenizer

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
    options: Options = DEFAULT,
) -> Iterator[EncodedFile]:
    """Encode each text to `{output_dir}/{its name}.npy`, one for each step of the returned iterator.

    Shard 2 of 4 of a.txt becomes a.2-of-4.npy; the shards of a text, one behind the other, are its ids.

    The ids are those of the whole text, as `tokenizer.encode` gives them; if text (more than white space) stands
    behind the last `<|endoftext|>`, one is added at the end, so that every document is followed by one.

    Args:
        tokenizer: has `<|endoftext|>` as a special token.
        inputs: UTF-8 texts.
        output_dir: is made if need be.
        output_dtype: one of `OUTPUT_DTYPES`; None takes uint16, or uint32 if the vocabulary needs more.
        options: how to do it. The backend is that of the tokenizer.

    Raises:
        MinlmError: an input is missing, empty or not UTF-8; two inputs have the same name; the dtype is too small;
            the output cannot be written. Except for bad UTF-8, nothing has been written then.
    """
    dtype = _choose_dtype(tokenizer, output_dtype)
    if SEPARATOR not in tokenizer.special_tokens:
        raise MinlmError(f"{SEPARATOR} ends every document, so it must be one of the special tokens")
    part = ".{}-of-{}".format(*options.shard) if options.shard else ""
    outputs: dict[Path, str | Path] = {}
    for path in inputs:
        output = Path(output_dir) / f"{Path(path).stem}{part}.npy"
        if output in outputs:
            raise MinlmError(f"{outputs[output]} and {path} would both become {output}; rename one of them")
        outputs[output] = path
    options = replace(
        options, backend=choose_backend_for_files(tokenizer.backend, options.share_of(text.total_bytes(inputs)))
    )
    return (_encode_file(tokenizer, path, output, dtype, options) for output, path in outputs.items())


def _encode_file(
    tokenizer: BPETokenizer, path: str | Path, output: Path, dtype: np.dtype, options: Options
) -> EncodedFile:
    begin = time.perf_counter()
    with text.open_text(path) as read:
        start, end = whole = options.range_of(read, path, tokenizer.pretokenizer)
        with Progress(end - start, f"tokenizing {path}", "B") as progress, atomic_write(output, "wb") as file:
            arrays = _arrays(tokenizer, path, read, whole, dtype, options, progress)
            num_tokens = _write_npy(file, arrays, dtype)
    return EncodedFile(output, num_tokens, end - start, dtype, time.perf_counter() - begin)


def _arrays(
    tokenizer: BPETokenizer, path: str | Path, read: text.OpenText, whole: text.Range, dtype: np.dtype,
    options: Options, progress: Progress,
) -> Iterator[np.ndarray]:  # fmt: skip
    """The ids of a range of a text in pieces, with `<|endoftext|>` behind the last document."""

    def encode(encoder: Any, part: text.Range) -> tuple[int, np.ndarray]:
        start, end = part
        content = read.into(encoder.buffer(end - start), start)
        with text.explained(path, start, content):
            return end - start, encoder.encode(content).astype(dtype, copy=False)

    threads = options.threads_for(whole[1] - whole[0], options.backend)
    encoders = [tokenizer.make_encoder(options.keep_invalid, options.backend) for _ in range(threads)]
    parts = text.ranges(tokenizer.pretokenizer, read, whole, text.RANGE_BYTES)
    for num_bytes, ids in text.map_in_order(encode, parts, encoders):
        yield ids
        progress.update(num_bytes)
    if text.is_unfinished(read, whole, SEPARATOR.encode()):
        yield encoders[0].encode(SEPARATOR.encode()).astype(dtype)


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
