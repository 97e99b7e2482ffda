"""A corpus from the user's own text files and tables: names and globs in, a training and a validation file out."""

import gzip
import itertools
import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import zstandard

from minlm.atomic import atomic_write
from minlm.corpus import tables
from minlm.documents import check_length, iter_lines, iter_texts, trim, without_separator, write_document
from minlm.errors import MinlmError
from minlm.globs import matching_files
from minlm.progress import Progress, log
from minlm.reading import quote

T = TypeVar("T")
MOST_PROBLEMS = 20  # in one error


def collect_files(
    train: Sequence[str],
    valid: Sequence[str],
    output_train: str | Path,
    output_valid: str | Path,
    documents: str = "separator",
    valid_fraction: float = 0.05,
    text_field: str = "text",
    seed: int = 0,
) -> dict[str, int]:
    """Write the documents of the given files to two corpus files.

    Args:
        train: names or globs (`**` includes subfolders) of tables and text files, most of them also as .gz or .zst, or
            folders that `datasets` saved. `tables.READERS` lists the endings of tables; other files are plain text.
        valid: the same for validation. If empty, documents of `train` are held out instead.
        output_train: corpus file to write.
        output_valid: corpus file to write.
        documents: where a document of a text file ends: "separator" at `<|endoftext|>` (a file without it is one
            document), "file" at the end of the file, "blank_line" at a blank line. In a table each row is a document.
        valid_fraction: fraction of the documents to hold out, at even intervals, and at least one.
        text_field: the column of the text in tables. Cells that are null or not text are left out.
        seed: another seed holds out other documents.

    Returns:
        The number of documents in each file: `{"train": …, "valid": …}`.

    Raises:
        MinlmError: valid_fraction is out of range; a pattern matches no file; a file is damaged, empty, not UTF-8 or
            lacks the column; a file is named for both training and validation; there is one document only, so none can
            be held out.
    """
    if not 0 < valid_fraction < 1:
        raise MinlmError(f"valid_fraction must be between 0 and 1, not {valid_fraction}")
    train_files, valid_files = find_files(train), find_files(valid)
    if shared := {path.resolve() for path in train_files} & {path.resolve() for path in valid_files}:
        raise MinlmError(f"{min(shared)} is named for both training and validation; remove it from one of them")
    counts = {"train": 0, "valid": 0}
    with atomic_write(output_train) as out_train, atomic_write(output_valid) as out_valid:
        problems: list[str] = []
        texts = _read_files(train_files, documents, text_field, problems)
        for text, held_out in hold_out(texts, 0.0 if valid_files else valid_fraction, seed):
            write_document(out_valid if held_out else out_train, text)
            counts["valid" if held_out else "train"] += 1
        for text in _read_files(valid_files, documents, text_field, problems):
            write_document(out_valid, text)
            counts["valid"] += 1
        if problems:
            raise MinlmError(listed(problems))
        if counts["train"] == 0 or counts["valid"] == 0:
            raise MinlmError(
                f"{train_files[0]} is a single document, so none can be held out for validation: name files for "
                "validation, or split it (documents: blank_line)"
            )
    return counts


def find_files(patterns: Iterable[str]) -> list[Path]:
    """The files that names and globs match, in order and without duplicates.

    Raises:
        MinlmError: a pattern matches no file.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        files = [Path(name) for name in matching_files(pattern)]
        if not files:
            raise MinlmError(f"no file matches {pattern}: check the name and the folder it is in")
        found.update(dict.fromkeys(files))
    return list(found)


def listed(problems: list[str], what: str = "files") -> str:
    """The first problems, or the only one, as an error's text."""
    if len(problems) == 1:
        return problems[0]
    more = [f"… and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
    return "\n  ".join([f"{len(problems)} {what} cannot be used:", *problems[:MOST_PROBLEMS], *more])


def hold_out(texts: Iterator[T], fraction: float, seed: int) -> Iterator[tuple[T, bool]]:
    """Yield each text with whether it is held out: every (1 / fraction)-th, or the last one if there would be none."""
    phase = random.Random(seed).random()
    held_out = 0
    pairs: Iterator[Any] = itertools.pairwise(itertools.chain(texts, [None]))
    for count, (text, following) in enumerate(pairs, start=1):
        must_hold_out = following is None and fraction > 0 and held_out == 0
        is_held_out = int(count * fraction + phase) > held_out or must_hold_out
        held_out += is_held_out
        yield text, is_held_out


def _read_files(paths: Sequence[Path], documents: str, text_field: str, problems: list[str]) -> Iterator[str]:
    """Yield the documents of all files, each of which must have at least one; add what is wrong to `problems`."""
    with Progress(sum(path.stat().st_size for path in paths), "collecting text", "B") as progress:
        for path in paths:
            is_empty = True
            try:
                for text in _read_file(path, documents, text_field):
                    if text := trim(text):
                        is_empty = False
                        if not problems:  # after the first problem, only look for others
                            yield text
                if is_empty:
                    problems.append(f"{path} contains no text; remove it from the list, or check its origin")
            except (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError) as error:
                problems.append(f"{path} is damaged or not compressed as its name says: {error}")
            except MinlmError as error:
                problems.append(str(error))
            progress.update(path.stat().st_size)


def open_compressed(path: Path) -> Any:
    """Open a file, plain or compressed as its name says, for reading bytes."""
    opener: Any = {".gz": gzip.open, ".zst": zstandard.open}.get(path.suffix.lower(), open)
    return opener(path, "rb")


def _read_file(path: Path, documents: str, text_field: str) -> Iterator[str]:
    read_cells = tables.reader_of(path)
    with open_compressed(path) as file:
        if read_cells:
            yield from _cell_texts(read_cells(file, path, text_field), path, text_field)
        elif documents == "blank_line":
            yield from _paragraphs(iter_lines(file, path), path)
        elif documents == "file":
            yield _join(iter_texts(file, path), path)
        else:
            yield from iter_texts(file, path)


def _cell_texts(cells: Iterator[Any], path: Path, text_field: str) -> Iterator[str]:
    """Yield the texts among the cells, without any separator in them; say how many cells are something else."""
    left_out = 0
    for cell in cells:
        if isinstance(cell, str):
            yield without_separator(cell)
        else:
            left_out += 1
    if left_out:
        log.info(f"{path}: left out {left_out:,} rows whose {quote(text_field)} is empty or not a text")


def _join(texts: Iterator[str], path: Path) -> str:
    pieces, size = [], 0
    for text in texts:
        pieces.append(text)
        size += len(text)
        check_length(size, path, "a document")
    return without_separator("".join(pieces))


def _paragraphs(lines: Iterator[str], path: Path) -> Iterator[str]:
    paragraph: list[str] = []
    size = 0
    for line in lines:
        line = without_separator(line)
        if line.strip():
            paragraph.append(line)
            if len(paragraph) % 1024 == 0:  # checking each line would take time
                size += sum(map(len, paragraph[-1024:]))
                check_length(size, path, "a paragraph")
        elif paragraph:
            yield "\n".join(paragraph)
            paragraph, size = [], 0
    yield "\n".join(paragraph)
