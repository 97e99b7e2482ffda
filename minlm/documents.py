"""Reading and writing a corpus: UTF-8 text with a line `<|endoftext|>` after each document.

Readers hold one block or one document in memory, never a whole corpus.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, BinaryIO

from minlm.encodings import START_BYTES, how_to_convert, wide_encoding
from minlm.errors import MinlmError

SEPARATOR = "<|endoftext|>"
BLOCK_BYTES = 1 << 18  # fits the processor's cache
MAX_DOCUMENT_BYTES = 4_000_000_000  # for what is in memory at once: a document, a line, a stretch without a space


def read_blocks(file: BinaryIO, name: str | Path, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, bytes]]:
    """Yield (byte offset, block) for the whole of `file`, without a byte order mark at the start.

    A block ends after a space or line feed, or at the end of the file, so no character, word or separator is split.

    Raises:
        MinlmError: the text is not UTF-8 (the error names `name` and the offset), or has more than
            `MAX_DOCUMENT_BYTES` bytes without a space.
    """
    start, offset, held = b"", 0, 0
    pieces: list[bytes] = []  # of the current block, and their size: `held`
    while data := file.read(block_bytes):
        if not start:
            start = data[:START_BYTES]
            if wide := wide_encoding(start, is_utf8=True):
                raise MinlmError(f"{name} is not UTF-8: it looks like {wide}. {how_to_convert(start, start, 0)}")
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


def _checked(block: bytes, offset: int, name: str | Path, start: bytes) -> tuple[int, bytes]:
    """Check that a block is UTF-8, drop a byte order mark at the file's start, and return its offset and content."""
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


def iter_texts(file: BinaryIO, name: str | Path) -> Iterator[str]:
    """Yield the texts between the separators of `file`, unchanged. Raises the errors of `read_blocks`."""
    return _split((block for _, block in read_blocks(file, name)), SEPARATOR.encode(), name, "a document")


def iter_lines(file: BinaryIO, name: str | Path) -> Iterator[str]:
    """Yield the lines of `file` without their ends: LF, CRLF or CR. Raises the errors of `read_blocks`."""
    blocks = (block for _, block in read_blocks(file, name))
    with_lf = (block.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in block else block for block in blocks)
    return _split(with_lf, b"\n", name, "a line")


def _split(blocks: Iterable[bytes], separator: bytes, name: str | Path, unit: str) -> Iterator[str]:
    pieces: list[bytes] = []
    size = 0
    for block in blocks:
        *complete, rest = block.split(separator)
        for end in complete:
            yield b"".join([*pieces, end]).decode()
            pieces, size = [], 0
        pieces.append(rest)
        size += len(rest)
        check_length(size, name, unit)
    yield b"".join(pieces).decode()


def check_length(size: int, name: str | Path, unit: str) -> None:
    """Raise `MinlmError` if the `unit` of a text is larger than `MAX_DOCUMENT_BYTES`, too much for the memory."""
    if size > MAX_DOCUMENT_BYTES:
        raise MinlmError(
            f"{name} has {unit} of more than {MAX_DOCUMENT_BYTES / 1e9:g} GB, the most that is held in memory. End "
            f"documents with a line {SEPARATOR}, or with blank lines (documents: blank_line)."
        )


def iter_documents(path: str | Path) -> Iterator[str]:
    """Yield the documents of a corpus file, trimmed and without empty ones. Raises the errors of `read_blocks`."""
    with open(path, "rb") as file:
        for text in iter_texts(file, path):
            if text.strip():
                yield trim(text)


def trim(text: str) -> str:
    """Remove blank lines from both ends, and turn all line ends into LF. Indentation stays."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        return ""
    start = text.rfind("\n", 0, len(text) - len(text.lstrip())) + 1
    end = text.find("\n", len(text.rstrip()))
    return text[start:] if end < 0 else text[start:end]


def without_separator(text: str) -> str:
    """Remove every `SEPARATOR`, also those that appear when the text around a removed one joins.

    This takes linear time, even for nested separators such as `<|endof<|endoftext|>text|>`.
    """
    if SEPARATOR not in text:
        return text
    separator = SEPARATOR.encode()
    reach = len(separator) - 1  # a separator across a join has at most this many bytes on each side
    kept = bytearray()
    for piece in text.encode(errors="surrogatepass").split(separator):
        start = 0
        while (found := (kept[-reach:] + piece[start : start + reach]).find(separator)) >= 0:
            on_the_left = min(len(kept), reach) - found
            del kept[-on_the_left:]
            start += len(separator) - on_the_left
        kept += piece[start:]
    return kept.decode(errors="surrogatepass")


def write_document(out: IO[str], text: str) -> None:
    """Write one document, without any separator inside it, and the separator line."""
    out.write(f"{without_separator(text)}\n{SEPARATOR}\n")
