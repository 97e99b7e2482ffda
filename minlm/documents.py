"""Reading and writing a corpus: UTF-8 text whose documents are separated by the line `<|endoftext|>`.

Readers stream: they hold a block, or at most one document, never a corpus.
"""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, BinaryIO

from minlm.encodings import START_BYTES, how_to_convert, wide_encoding
from minlm.errors import MinlmError

SEPARATOR = "<|endoftext|>"
BLOCK_BYTES = 1 << 18  # fits the processor's cache
MAX_DOCUMENT_BYTES = 4_000_000_000  # of a document, a line or a run without a space: what must be in memory at once


def read_blocks(file: BinaryIO, name: str | Path, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, bytes]]:
    """Yield (byte offset, block) for the whole of `file`, checked to be UTF-8.

    A block ends behind a space or line feed (or at the end of the file), so neither a character, a word nor
    a separator is ever cut. A byte order mark at the start is left out.

    Raises:
        MinlmError: a byte is not UTF-8 (names `name` and the offset), or the text seems to be UTF-16 or UTF-32;
            more than `MAX_DOCUMENT_BYTES` without a space.
    """
    start, offset, held = b"", 0, 0
    pieces: list[bytes] = []  # of a block that has not ended yet
    while data := file.read(block_bytes):
        if not start:
            start = data[:START_BYTES]
            if wide := wide_encoding(start, sure=True):
                raise MinlmError(f"{name} is not UTF-8: it begins like {wide}. {how_to_convert(start, start, 0)}")
        cut = max(data.rfind(b" "), data.rfind(b"\n")) + 1
        pieces.append(data[:cut] if cut else data)
        held += len(data)
        if not cut:
            check_length(held, name, "a stretch without a space")
        else:
            block, pieces, held = b"".join(pieces), [data[cut:]], len(data) - cut
            offset, block = _checked(block, offset, name, start)
            yield offset, block
            offset += len(block)
    offset, block = _checked(b"".join(pieces), offset, name, start)
    if block:
        yield offset, block


def iter_texts(file: BinaryIO, name: str | Path) -> Iterator[str]:
    """Yield what lies between the separators of `file`, as it stands there (see `read_blocks` for errors)."""
    blocks = (block for _, block in read_blocks(file, name))
    return _split(blocks, SEPARATOR.encode(), name, "a document")


def iter_lines(file: BinaryIO, name: str | Path) -> Iterator[str]:
    """Yield the lines of `file`, without what ends them: LF, CRLF or CR (see `read_blocks` for errors)."""
    blocks = (block for _, block in read_blocks(file, name))
    with_lf = (block.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in block else block for block in blocks)
    return _split(with_lf, b"\n", name, "a line")


def _split(blocks: Iterable[bytes], separator: bytes, name: str | Path, what: str) -> Iterator[str]:
    pieces: list[bytes] = []
    size = 0
    for block in blocks:
        first, *others = block.split(separator)
        pieces.append(first)
        if others:
            yield b"".join(pieces).decode()
            for whole in others[:-1]:
                yield whole.decode()
            pieces, size = [others[-1]], 0
        size += len(pieces[-1])
        check_length(size, name, what)
    yield b"".join(pieces).decode()


def check_length(size: int, name: str | Path, what: str) -> None:
    """Refuse what is too long to be held in memory.

    Raises:
        MinlmError: `size` is above `MAX_DOCUMENT_BYTES`.
    """
    if size > MAX_DOCUMENT_BYTES:
        raise MinlmError(
            f"{name} has {what} of more than {MAX_DOCUMENT_BYTES / 1e9:g} GB, the most that is held in memory. End "
            f"documents with a line {SEPARATOR}, or with blank lines (documents: blank_line)."
        )


def iter_documents(path: str | Path) -> Iterator[str]:
    """Yield the documents of a corpus file, without blank lines around them; empty ones are left out.

    Raises:
        MinlmError: the file is not UTF-8; names the byte offset.
    """
    with open(path, "rb") as file:
        for text in iter_texts(file, path):
            if text.strip():
                yield trim(text)


def trim(text: str) -> str:
    """LF line ends (for CRLF and CR), no blank lines at the start or the end."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    start, end = 0, len(lines)
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    return "\n".join(lines[start:end])


def without_separator(text: str) -> str:
    """The text without `SEPARATOR`, also where taking one out makes another of what was around it."""
    if SEPARATOR not in text:
        return text
    first, *others = text.split(SEPARATOR)
    most = len(SEPARATOR) - 1  # characters of one that a piece can begin or end with
    kept = io.StringIO()
    end = kept.write(first)
    for piece in others:
        start = 0
        while True:
            kept.seek(max(end - most, 0))
            before = kept.read(end - kept.tell())
            found = (before + piece[start : start + most]).find(SEPARATOR)
            if found < 0:
                break
            end -= len(before) - found
            start += found + len(SEPARATOR) - len(before)
        kept.seek(end)
        end += kept.write(piece[start:])
    return kept.getvalue()[:end]


def write_document(out: IO[str], text: str) -> None:
    """Write one document, without any separator in it, and the separator line behind it."""
    out.write(f"{without_separator(text)}\n{SEPARATOR}\n")


def _checked(block: bytes, offset: int, name: str | Path, start: bytes) -> tuple[int, bytes]:
    """Offset and content of a block without a byte order mark at the start of the file."""
    if offset == 0 and block.startswith(b"\xef\xbb\xbf"):
        offset, block = 3, block[3:]
    try:
        block.decode()
    except UnicodeDecodeError as error:
        raise MinlmError(
            f"{name} is not UTF-8: byte 0x{block[error.start]:02x} at offset {offset + error.start}. "
            f"{how_to_convert(start, block, error.start)}"
        ) from error
    return offset, block
