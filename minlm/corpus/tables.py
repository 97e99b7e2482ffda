"""One column of a table: JSON lines, a JSON array, CSV, TSV, Parquet, or Arrow as `datasets` saves it.

A reader takes the open file, its path and the name of the column. It yields the cells in order, whatever they are: a
text, None, a number. It holds a few rows in memory, never a file.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from minlm.documents import MAX_DOCUMENT_BYTES, check_length, iter_lines, read_blocks
from minlm.errors import MinlmError, require
from minlm.reading import UNREADABLE, quote, reading

ROWS = 100  # of Parquet and Arrow that are Python objects at once
BUFFER_BYTES = 1 << 20  # of Parquet's pages
MOST_NAMES = 20  # of columns in an error
LONGEST_LITERAL = 16  # what a block's end can leave of a number or of "false" is shorter

SPACE = re.compile(r"[ \t\n\r]*")


def reader_of(path: Path) -> Callable[[BinaryIO, Path, str], Iterator[Any]] | None:
    """The reader for a file of this name, which may end in .gz or .zst; None if the file is plain text.

    Raises:
        MinlmError: a compressed file of a format that is not read from front to back.
    """
    path = Path(str(path).lower())
    packed = path.suffix in (".gz", ".zst")
    suffix = path.with_suffix("").suffix if packed else path.suffix
    if packed and suffix in (".parquet", ".arrow"):
        raise MinlmError(
            f"{path}: unpack this file; {suffix} files are compressed inside, and not read from {path.suffix}"
        )
    return READERS.get(suffix)


# --- JSON ------------------------------------------------------------------------


def _json_lines(file: BinaryIO, path: Path, column: str) -> Iterator[Any]:
    for number, line in enumerate(iter_lines(file, path), start=1):
        if line.strip():
            with _naming(f"{path}, line {number}", column):
                value = json.loads(line)
            yield _member(value, column, f"{path}, line {number}")


def _json(file: BinaryIO, path: Path, column: str) -> Iterator[Any]:
    """A JSON array of objects. Many files named .json have one object a line instead."""
    file = io.BufferedReader(file)  # type: ignore[type-var]  # not all compressed files can go back
    if not file.peek(1000)[:1000].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        yield from _json_lines(file, path, column)
        return
    for number, value in enumerate(_elements(file, path, column), start=1):
        yield _member(value, column, f"{path}, element {number}")


def _elements(file: BinaryIO, path: Path, column: str) -> Iterator[Any]:
    """Yield the elements of a JSON array. If the text read so far ends inside one, twice as much is read."""
    blocks = (block.decode() for _, block in read_blocks(file, path))
    text, place, number, ended = "", 0, 1, False
    while True:
        with _naming(f"{path}, element {number}", column):
            try:
                value, end = _next_element(text, place, "[" if number == 1 else ",")
                complete = ended or end <= len(text) - LONGEST_LITERAL
            except json.JSONDecodeError as error:
                if ended or not (error.msg.startswith("Unterminated") or error.pos > len(text) - LONGEST_LITERAL):
                    raise
                complete = False
        if not complete:
            pieces, size, rest = [text[place:]], 0, len(text) - place
            while size <= rest and (block := next(blocks, None)) is not None:
                pieces.append(block)
                size += len(block)
            text, place, ended = "".join(pieces), 0, size <= rest
            check_length(len(text), path, "an element")
        elif value is END:
            if text[end:].strip() or any(block.strip() for block in blocks):
                raise MinlmError(f"{path}: there is more after the end of the JSON array. Put one array into each file")
            return
        else:
            yield value
            place, number = end, number + 1


END = object()  # of an array


def _next_element(text: str, place: int, before: str) -> tuple[Any, int]:
    """The element of an array after `before`, a bracket or a comma, and its end in the text; `END` after the last."""
    place = SPACE.match(text, place).end()  # type: ignore[union-attr]
    if before == "," and text[place : place + 1] == "]":
        return END, place + 1
    if text[place : place + 1] != before:
        raise json.JSONDecodeError(f"Expecting {before!r}", text, place)
    place = SPACE.match(text, place + 1).end()  # type: ignore[union-attr]
    if before == "[" and text[place : place + 1] == "]":
        return END, place + 1
    return json.JSONDecoder().raw_decode(text, place)


def _member(value: Any, column: str, place: str) -> Any:
    if isinstance(value, dict) and column not in value:
        raise MinlmError(_no_column(place, column, list(value)))
    with _naming(place, column):
        cell = value[column]
        if isinstance(cell, str):
            cell.encode()  # fails for unpaired surrogates, which JSON allows and UTF-8 does not
    return cell


@contextmanager
def _naming(place: str, column: str) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise MinlmError(f'{place}: not a JSON object with a text under "{column}" (see --text_field)') from error


# --- separated values ------------------------------------------------------------------------


def _csv(file: BinaryIO, path: Path, column: str, delimiter: str = ",") -> Iterator[Any]:
    csv.field_size_limit(MAX_DOCUMENT_BYTES)
    rows = csv.reader((f"{line}\n" for line in iter_lines(file, path)), delimiter=delimiter, strict=True)
    try:
        names = next(rows)
        index = _index(names, column, path)
        for row in rows:
            if len(row) > len(names):
                raise csv.Error(f"{len(row)} cells, but {len(names)} columns: a text with a {delimiter!r} needs quotes")
            if row:  # not an empty line
                yield (row[index] if index < len(row) else None) or None
    except csv.Error as error:
        raise MinlmError(f"{path}, line {rows.line_num}: {error}") from error


def _tsv(file: BinaryIO, path: Path, column: str) -> Iterator[Any]:
    return _csv(file, path, column, "\t")


# --- Parquet and Arrow ------------------------------------------------------------------------


@contextmanager
def _pyarrow(path: Path, kind: str) -> Iterator[Any]:
    require("pyarrow", "minlm[parquet]", str(path))
    import pyarrow.parquet  # 0.2 s

    with reading(path, kind, "Check its origin."):
        try:
            yield pyarrow
        except pyarrow.ArrowException as error:  # not all are ValueErrors; one is for a stated size without end
            raise ValueError(str(error)) from error


def _parquet(file: BinaryIO, path: Path, column: str) -> Iterator[Any]:
    """Read the pages of one column. Neither its other columns nor a whole row group are in memory."""
    with _pyarrow(path, "a Parquet file") as pyarrow:
        table = pyarrow.parquet.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
        _index(table.schema_arrow.names, column, path)
        for batch in table.iter_batches(ROWS, columns=[column], use_threads=False):
            yield from batch.column(0).to_pylist()


def _arrow(file: BinaryIO, path: Path, column: str) -> Iterator[Any]:
    """Read from the file's pages in memory, as `datasets` does; both of Arrow's formats, stream and file."""
    with _pyarrow(path, "an Arrow file") as pyarrow, pyarrow.memory_map(str(path)) as source:
        if file.read(6) == b"ARROW1":
            reader = pyarrow.ipc.open_file(source)
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            reader = batches = pyarrow.ipc.open_stream(source)
        index = _index(reader.schema.names, column, path)
        for batch in batches:
            cells = batch.column(index)
            cells.validate(full=True)  # a damaged offset would be read beyond the buffer
            for start in range(0, len(cells), ROWS):
                yield from cells.slice(start, ROWS).to_pylist()


def _index(names: Sequence[str], column: str, path: Path) -> int:
    if column not in names:
        raise MinlmError(_no_column(str(path), column, names))
    if names.count(column) > 1:
        raise MinlmError(f"{path} has two columns {quote(column)}; rename one of them")
    return names.index(column)


def _no_column(place: str, column: str, names: Sequence[str]) -> str:
    known = ", ".join(map(quote, names[:MOST_NAMES])) + (", …" if len(names) > MOST_NAMES else "")
    return f"{place}: there is no {quote(column)}, only {known or 'nothing'}. Name one with --text_field"


READERS = {
    ".jsonl": _json_lines, ".ndjson": _json_lines, ".json": _json, ".csv": _csv, ".tsv": _tsv, ".parquet": _parquet,
    ".arrow": _arrow,
}  # fmt: skip
