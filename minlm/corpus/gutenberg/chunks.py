"""Cutting cleaned books into documents. Whole books are held out for validation."""

import random
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minlm.atomic import atomic_write
from minlm.corpus.gutenberg.overlap import report_overlap
from minlm.documents import trim, write_document
from minlm.errors import MinlmError
from minlm.progress import Progress, log
from minlm.reading import reading

WORD = re.compile(r"\b\w+\b")
PARAGRAPH_END = re.compile(r"(?>\r\n?|\n)\s*[\r\n]")
SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*\s+")


@dataclass
class Excerpt:
    """A future document: bytes `start` to `end` of a book's file. Its text stays on disk until it is written."""

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
) -> dict[str, list[Excerpt]]:
    """Cut books into documents and write them, shuffled across books.

    Args:
        inputs: cleaned books. An empty file represents a book that could not be fetched.
        output_train: corpus file to write.
        output_valid: corpus file to write, with the documents of the books that are held out.
        min_words: words of a document, at least. Only a shorter book makes a shorter document.
        max_words: words of a document, at most.
        valid_fraction: fraction of all words to hold out, in whole books and at least one.
        max_failed: fraction of the books that may be empty.
        seed: for the order of the documents and the choice of the books to hold out.

    Returns:
        The documents of each file: `{"train": …, "valid": …}`.

    Raises:
        MinlmError: too many books are empty, fewer than two are not, or min_words is above max_words.
    """
    if not 0 < min_words <= max_words:
        raise MinlmError(f"min_words must be between 1 and max_words, not {min_words} of {max_words}")
    paths = sorted({Path(path) for path in inputs}, key=lambda path: (len(path.name), path.name))
    books: dict[Path, list[Excerpt]] = {}
    with Progress(len(paths), "cutting books into documents", "books") as progress:
        for path in paths:
            books[path] = cut_book(path, min_words, max_words)
            progress.update(1)
    failed = [path for path in paths if not books[path]]
    _check_failed(failed, len(paths), max_failed)

    words = {path: sum(excerpt.words for excerpt in books[path]) for path in paths if books[path]}
    valid_books = hold_out(words, valid_fraction, seed)
    excerpts: dict[str, list[Excerpt]] = {"train": [], "valid": []}
    for path in paths:
        excerpts["valid" if path in valid_books else "train"] += books[path]
    for split, output in (("train", output_train), ("valid", output_valid)):
        random.Random(seed).shuffle(excerpts[split])
        with atomic_write(output) as out:
            for excerpt in excerpts[split]:
                with open(excerpt.path, "rb") as file:
                    file.seek(excerpt.start)
                    write_document(out, trim(file.read(excerpt.end - excerpt.start).decode()).rstrip())
    log.info(f"held out for validation: {', '.join(sorted(path.stem for path in valid_books))}")
    report_overlap([path for path in words if path not in valid_books], valid_books)
    return excerpts


def cut_book(path: Path, min_words: int, max_words: int) -> list[Excerpt]:
    """Cut one book into documents, in order. An empty file gives none.

    Raises:
        MinlmError: the file is not UTF-8.
    """
    with reading(path, "UTF-8 text", "Delete it to make it again."):
        text = path.read_bytes().decode()
    excerpts, begin, start = [], 0, 0  # begin is in characters, start in bytes
    for end, words in cut_points(text, min_words, max_words):
        size = len(text[begin:end].encode())
        excerpts.append(Excerpt(path, start, start + size, words))
        begin, start = end, start + size
    return excerpts


def cut_points(text: str, min_words: int, max_words: int) -> list[tuple[int, int]]:
    """Choose where to cut a text. Returns (end in characters, words) of each document.

    Each cut is at the paragraph end nearest to the middle between `min_words` and `max_words`; without one in that
    range, at the nearest sentence end; without that, between words. If `max_words` is at least twice `min_words`,
    the last document is long enough too.
    """
    word_starts = [match.start() for match in WORD.finditer(text)]
    total = len(word_starts)
    if total == 0:
        return []
    ends = [sorted(match.end() for match in pattern.finditer(text)) for pattern in (PARAGRAPH_END, SENTENCE_END)]
    ends.append(word_starts)
    cuts, done = [], 0  # done: words in the documents so far
    while total - done > max_words:
        low = done + min_words
        high = max(low, min(done + max_words, total - min_words))
        # The cut must have low to high words before it: it is after the start of word low - 1, at most at that of high.
        between = [
            offsets[bisect_right(offsets, word_starts[low - 1]) : bisect_right(offsets, word_starts[high])]
            for offsets in ends
        ]
        middle = word_starts[(low + high) // 2]
        offset = min(next(filter(None, between)), key=lambda offset: abs(offset - middle))
        words = bisect_left(word_starts, offset)
        cuts.append((offset, words - done))
        done = words
    return [*cuts, (len(text), total - done)]


def hold_out(words: dict[Path, int], fraction: float, seed: int) -> set[Path]:
    """Choose books that have about `fraction` of all words: at least one book, and not all.

    Args:
        words: the number of words of each book.
        fraction: of the words.
        seed: another seed chooses other books.

    Raises:
        MinlmError: there are fewer than two books.
    """
    if len(words) < 2:
        raise MinlmError(f"{len(words)} book(s) with text, but two are needed: one for validation. Select more.")
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
