"""Cutting cleaned books into documents of a size that a model can read, whole books being held out for validation."""

import random
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minlm.atomic import atomic_write
from minlm.documents import trim, write_document
from minlm.errors import MinlmError
from minlm.progress import Progress, log

WORD = re.compile(r"\b\w+\b")
PARAGRAPH_END = re.compile(r"(?>\r\n?|\n)\s*[\r\n]")
SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*\s+")


@dataclass
class Piece:
    """A document to be: bytes `start` to `end` of a file. Texts stay on the disk until they are written."""

    path: Path
    start: int
    end: int
    words: int


def build_ancients(
    inputs: Sequence[str | Path],
    output_train: str | Path,
    output_valid: str | Path,
    min_words: int = 500,
    max_words: int = 1000,
    valid_fraction: float = 0.05,
    max_failed: float = 0.05,
    seed: int = 0,
) -> dict[str, list[Piece]]:
    """Cut books into documents and write them, shuffled across books.

    Args:
        inputs: cleaned books. An empty file stands for a book that could not be fetched.
        output_train: corpus file to write.
        output_valid: corpus file to write; all of its documents are from books that are not in the other.
        min_words: of a document. Only a book that is shorter makes a shorter one.
        max_words: of a document.
        valid_fraction: of all words; at least one book.
        max_failed: fraction of the books that may be empty.
        seed: of the shuffling and of the choice of books to hold out.

    Returns:
        The documents of each file: `{"train": …, "valid": …}`.

    Raises:
        MinlmError: too many empty books, fewer than two others, or min_words above max_words.
    """
    if not 0 < min_words <= max_words:
        raise MinlmError(f"min_words must be between 1 and max_words, not {min_words} of {max_words}")
    paths = sorted({Path(path) for path in inputs}, key=lambda path: (len(path.name), path.name))
    books: dict[Path, list[Piece]] = {}
    with Progress(len(paths), "cutting books into documents", "books") as progress:
        for path in paths:
            books[path] = cut_book(path, min_words, max_words)
            progress.update(1)
    failed = [path for path in paths if not books[path]]
    _check_failed(failed, len(paths), max_failed)

    valid_books = hold_out({path: _words(books[path]) for path in paths if books[path]}, valid_fraction, seed)
    pieces = {
        "train": [piece for path in paths if path not in valid_books for piece in books[path]],
        "valid": [piece for path in paths if path in valid_books for piece in books[path]],
    }
    for split, output in (("train", output_train), ("valid", output_valid)):
        random.Random(seed).shuffle(pieces[split])
        with atomic_write(output) as out:
            for piece in pieces[split]:
                with open(piece.path, "rb") as file:
                    file.seek(piece.start)
                    write_document(out, trim(file.read(piece.end - piece.start).decode()).rstrip())
    log.info(f"held out for validation: {', '.join(sorted(path.stem for path in valid_books))}")
    return pieces


def cut_book(path: Path, min_words: int, max_words: int) -> list[Piece]:
    """The documents of one book, in order; none for an empty file."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise MinlmError(f"{path} is not UTF-8 at byte offset {error.start}; delete it to make it again") from error
    pieces, begin, start = [], 0, 0  # in characters, in bytes
    for end, words in cut_points(text, min_words, max_words):
        size = len(text[begin:end].encode())
        pieces.append(Piece(path, start, start + size, words))
        begin, start = end, start + size
    return pieces


def cut_points(text: str, min_words: int, max_words: int) -> list[tuple[int, int]]:
    """Where to cut a text: (end in characters, words) of each document.

    Each cut is at the paragraph end nearest to the middle between the fewest and the most words, else at the
    sentence end nearest to it, else anywhere between words. Enough is left for the last document, if
    `max_words` is at least twice `min_words`.
    """
    word_starts = [match.start() for match in WORD.finditer(text)]
    total = len(word_starts)
    if total == 0:
        return []
    ends = [sorted(match.end() for match in pattern.finditer(text)) for pattern in (PARAGRAPH_END, SENTENCE_END)]
    ends.append(word_starts)
    cuts, done = [], 0  # words in the documents so far
    while total - done > max_words:
        low = done + min_words
        high = max(low, min(done + max_words, total - min_words))
        # Words low to high may lie before the cut: it is behind the start of word low - 1 and not behind that of high.
        between = [
            offsets[bisect_right(offsets, word_starts[low - 1]) : bisect_right(offsets, word_starts[high])]
            for offsets in ends
        ]
        middle = word_starts[(low + high) // 2]
        offset = _nearest(next(filter(None, between)), middle)
        words = bisect_left(word_starts, offset)
        cuts.append((offset, words - done))
        done = words
    return [*cuts, (len(text), total - done)]


def hold_out(words: dict[Path, int], fraction: float, seed: int) -> set[Path]:
    """Books with about `fraction` of all words together: at least one, and not all.

    Raises:
        MinlmError: there are fewer than two books.
    """
    if len(words) < 2:
        raise MinlmError(f"{len(words)} book(s) with text: two are needed, one of them for validation. Select more.")
    target = fraction * sum(words.values())
    shuffled = sorted(words)
    random.Random(seed).shuffle(shuffled)
    chosen: set[Path] = set()
    reached = 0
    for path in shuffled:
        if abs(reached + words[path] - target) < abs(reached - target) and len(chosen) < len(words) - 1:
            chosen.add(path)
            reached += words[path]
    return chosen or {min(shuffled, key=lambda path: words[path])}


def _check_failed(failed: list[Path], number: int, max_failed: float) -> None:
    if failed:
        names = ", ".join(path.stem for path in failed)
        log.info(f"{len(failed)} of {number} books could not be fetched: {names}")
    if len(failed) > max_failed * number:
        books = failed[0].parent.with_name("books")
        raise MinlmError(
            f"{len(failed)} of {number} books could not be fetched ({names}), but max_failed is {max_failed:g}. "
            f"The reasons are in {books.with_name('failed')}/. To try again, delete their empty files: "
            f"rm {' '.join(str(books / path.name) for path in failed)}"
        )


def _nearest(offsets: list[int], middle: int) -> int:
    return min(offsets, key=lambda offset: abs(offset - middle))


def _words(pieces: list[Piece]) -> int:
    return sum(piece.words for piece in pieces)
