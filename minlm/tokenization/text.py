"""Reading text files of any size, a block at a time."""

import codecs
from collections.abc import Iterator, Sequence
from pathlib import Path

from minlm.errors import MinlmError
from minlm.progress import Progress

BLOCK_BYTES = 1 << 20


def read_text(path: str | Path, progress: Progress | None = None) -> Iterator[str]:
    """Yield the text of a UTF-8 file in pieces, every character as it stands there (line ends, byte order mark).

    Args:
        path: the file.
        progress: is told how many bytes have been read.

    Raises:
        MinlmError: a byte is not UTF-8; names the file and the offset.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield _decode(decoder, block, offset, path)
            offset += len(block)
            if progress is not None:
                progress.update(len(block))
    _decode(decoder, b"", offset, path)  # complains about a last character that is cut short


def _decode(decoder: codecs.IncrementalDecoder, block: bytes, offset: int, path: str | Path) -> str:
    begun = len(decoder.getstate()[0])  # bytes of a character that the last block cut in two
    try:
        return decoder.decode(block, final=not block)
    except UnicodeDecodeError as error:
        raise MinlmError(
            f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {offset - begun + error.start}. "
            "Convert it first, for example: iconv -f ISO-8859-1 -t UTF-8 old.txt > new.txt"
        ) from None


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
