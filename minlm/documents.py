"""Reading and writing a corpus: UTF-8 text whose documents are separated by the line `<|endoftext|>`.

Readers stream: they hold a block, or at most one document, never a corpus.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from minlm.errors import MinlmError

SEPARATOR = "<|endoftext|>"
BLOCK_BYTES = 1 << 18  # fits the processor's cache


def read_blocks(file: BinaryIO, name: str | Path, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, bytes]]:
    """Yield (byte offset, block) for the whole of `file`, checked to be UTF-8.

    A block ends behind a space or line feed (or at the end of the file), so neither a character, a word nor
    a separator is ever cut. A byte order mark at the start is left out.

    Raises:
        MinlmError: a byte is not UTF-8; names `name` and the offset.
    """
    offset, rest = 0, b""
    while True:
        data = file.read(block_bytes)
        block = rest + data
        if offset == 0 and block.startswith(b"\xef\xbb\xbf"):
            offset, block = 3, block[3:]
        cut = max(block.rfind(b" "), block.rfind(b"\n")) + 1 if data else len(block)
        block, rest = block[:cut], block[cut:]
        if block:
            _check_utf8(block, offset, name)
            yield offset, block
            offset += len(block)
        if not data:
            return


def iter_texts(file: BinaryIO, name: str | Path) -> Iterator[str]:
    """Yield what lies between the separators of `file`, as it stands there (see `read_blocks` for errors)."""
    separator = SEPARATOR.encode()
    pieces: list[bytes] = []
    for _, block in read_blocks(file, name):
        *ends, rest = block.split(separator)
        for end in ends:
            yield b"".join([*pieces, end]).decode()
            pieces = []
        pieces.append(rest)
    yield b"".join(pieces).decode()


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
    """LF line ends, no blank lines at the start or the end."""
    lines = text.replace("\r\n", "\n").split("\n") if "\r" in text else text.split("\n")
    start, end = 0, len(lines)
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    return "\n".join(lines[start:end])


def write_document(out: IO[str], text: str) -> None:
    """Write one document and the separator line behind it."""
    out.write(f"{text}\n{SEPARATOR}\n")


def _check_utf8(block: bytes, offset: int, name: str | Path) -> None:
    try:
        block.decode()
    except UnicodeDecodeError as error:
        raise MinlmError(
            f"{name} is not UTF-8: byte 0x{block[error.start]:02x} at offset {offset + error.start}. "
            "Convert it first, for example: iconv -f ISO-8859-1 -t UTF-8 old.txt > new.txt"
        ) from error
