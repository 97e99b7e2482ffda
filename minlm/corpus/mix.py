"""Mixing two corpora, so that a given share of the words comes from ancient books everywhere in the file.

There are two streaming passes. The first records the position and the number of words of each document; the second
copies the documents in their new order. Memory holds three numbers per document, never the text.
"""

import io
import json
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from minlm.atomic import atomic_write
from minlm.corpus.words import IntArray, count_before, mark_words
from minlm.documents import BLOCK_BYTES, SEPARATOR, read_blocks
from minlm.errors import MinlmError
from minlm.progress import Progress, log

TRAIN_FRACTION = 0.95  # of target_total_words; the rest is validation
CUT_ABOVE = 0.001  # the last document is cut to size if more than this fraction of the words is missing without it

LONGEST_SENTENCE = 1 << 16  # bytes
MANY_PASSES = 4  # over a source; more teach a model little (Muennighoff et al. 2023)

_SENTENCE_END = re.compile(rb"""[.!?](?:["')\]]|\xe2\x80[\x99\x9d])*(?=\s|\Z)|\n\s*?(?=\n)""")
_LINE_ENDS = b"\r\n"
_END = f"\n{SEPARATOR}\n".encode()


@dataclass
class Spans:
    """Positions of documents in a file. The arrays are int64, shape (documents,); words are matches of `\\b\\w+\\b`."""

    path: Path
    offset: IntArray
    length: IntArray
    words: IntArray

    @property
    def total_words(self) -> int:
        """The words of all documents."""
        return int(self.words.sum())

    def take(self, index: IntArray) -> "Spans":
        """The documents at these indices, which may repeat."""
        return Spans(self.path, self.offset[index], self.length[index], self.words[index])


@dataclass
class Mixture:
    """The contents of a mixed file: the words of each source, and its passes (1.5: half of it is used twice)."""

    documents: int
    base_words: int
    ancient_words: int
    base_passes: float
    ancient_passes: float

    @property
    def share(self) -> float:
        """The fraction of the words that comes from ancient books."""
        return self.ancient_words / max(self.base_words + self.ancient_words, 1)


def mix_corpora(
    base: tuple[str | Path, str | Path],
    ancients: tuple[str | Path, str | Path] | None,
    outputs: tuple[str | Path, str | Path],
    share: float,
    target_total_words: int | None = None,
    seed: int = 0,
    record: str | Path | None = None,
) -> dict[str, Mixture]:
    """Mix (train, valid) of a base corpus with (train, valid) of the ancient books.

    Args:
        base: train and valid file of the base corpus.
        ancients: train and valid file of the ancient books; needed unless `share` is 0.
        outputs: train and valid file to write.
        share: fraction of the words to take from ancient books.
        target_total_words: words of both outputs together, 95 % of them for training. None: each output has as many
            words as its sources together.
        seed: another seed chooses other documents where not all are used.
        record: JSON file to write, with the contribution of each source:
            `{"train": {"data/tinystories/train.txt": {"words": …, "passes": …}, …}, "valid": …}`.

    Returns:
        The contents of each file, `{"train": …, "valid": …}`. With share 0 and no target the base is only copied, and
        the result is empty.

    Raises:
        MinlmError: an argument is out of range, or a source that is needed has no words or is not UTF-8.
    """
    if not 0 <= share <= 1:
        raise MinlmError(f"share must be between 0 and 1, not {share}")
    if target_total_words is not None and target_total_words < 20:
        raise MinlmError(f"target_total_words must be at least 20, not {target_total_words}")
    if share > 0 and ancients is None:
        raise MinlmError(
            f"share is {share}, but no ancient books are given: name --ancients_train and --ancients_valid"
        )
    targets: list[int | None] = [None, None]
    if target_total_words is not None:
        train_words = round(target_total_words * TRAIN_FRACTION)
        targets = [train_words, target_total_words - train_words]
    mixtures, contributions = {}, {}
    for i, split in enumerate(("train", "valid")):
        if share == 0 and target_total_words is None:
            copy_corpus(base[i], outputs[i])
            continue
        sources = (base[i], ancients[i] if ancients else None)
        mixture = mixtures[split] = mix_files(*sources, outputs[i], share, targets[i], seed)
        words_and_passes = (
            (mixture.base_words, mixture.base_passes), (mixture.ancient_words, mixture.ancient_passes)
        )  # fmt: skip
        contributions[split] = {
            str(path): {"words": words, "passes": passes}
            for path, (words, passes) in zip(sources, words_and_passes, strict=True)
            if path is not None
        }
    if record is not None:
        with atomic_write(record) as out:
            json.dump(contributions, out, indent=1)
    return mixtures


def copy_corpus(source: str | Path, output: str | Path) -> None:
    """Copy a corpus byte for byte, except for a byte order mark, and check that it is UTF-8 and has text."""
    has_text = False
    with (
        open(source, "rb") as file,
        atomic_write(output, "wb") as out,
        Progress(Path(source).stat().st_size, f"copying {source}", "B") as progress,
    ):
        for _, block in read_blocks(file, source):
            has_text = has_text or bool(block.replace(SEPARATOR.encode(), b"").strip())
            out.write(block)
            progress.update(len(block))
        if not has_text:
            raise MinlmError(f"{source} contains no text; delete it and make it again")


def mix_files(
    base: str | Path, ancients: str | Path | None, output: str | Path, share: float, target: int | None, seed: int
) -> Mixture:
    """Write one mixed file of `target` words (None: as many as the sources have). See `mix_corpora`."""
    sources: list[Spans] = []
    for path, part in ((base, 1 - share), (ancients, share)):
        sources.append(scan(path) if path is not None and part > 0 else Spans(Path(), *np.empty((3, 0), np.int64)))
        if part > 0 and sources[-1].total_words == 0:
            raise MinlmError(f"{path} contains no words, but should provide {part:.0%} of the text")
    total = sum(source.total_words for source in sources) if target is None else target
    ancient_words = round(total * share)
    rng = np.random.default_rng(seed)
    chosen = [choose(sources[0], total - ancient_words, rng), choose(sources[1], ancient_words, rng)]
    _write_interleaved(chosen, output)
    words = [taken.total_words for taken in chosen]
    passes = [count / max(source.total_words, 1) for count, source in zip(words, sources, strict=True)]
    mixture = Mixture(sum(len(taken.words) for taken in chosen), *words, *passes)
    log.info(
        f"{output}: {mixture.documents:,} documents, {sum(words):,} words, {mixture.share:.1%} ancient; "
        f"passes: {passes[0]:.2f} over the base, {passes[1]:.2f} over the ancient books"
    )
    for path, count in ((base, passes[0]), (ancients, passes[1])):
        if count > MANY_PASSES:
            log.warning(
                f"warning: {output} contains each document of {path} {count:.1f} times; a model learns little from "
                f"more than {MANY_PASSES}. Lower the share or target_total_words, or add text."
            )
    return mixture


def scan(path: str | Path) -> Spans:
    """First pass: find the documents of a corpus file and count their words. Documents without words are skipped."""
    separator = SEPARATOR.encode()
    found = [np.empty((3, 0), np.int64)]  # per block: offset, length and words of the documents that end in it
    begin, words_so_far, position = -1, 0, 0  # begin and words of the document that is still open; end of the block
    with open(path, "rb") as file, Progress(Path(path).stat().st_size, f"scanning {path}", "B") as progress:
        for position, block in read_blocks(file, path):
            begin = position if begin < 0 else begin
            size = np.fromiter(map(len, block.split(separator)), np.int64)  # of the texts between separators
            last = np.cumsum(size + len(separator)) - len(separator)  # end of each document's text in this block
            first = last - size
            before_first, before_last = count_before(mark_words(block), np.stack([first, last]))
            words = before_last - before_first
            words[0] += words_so_far
            offset = first + position
            offset[0] = begin
            found.append(np.stack([offset, last + position - offset, words])[:, :-1])
            begin, words_so_far = int(offset[-1]), int(words[-1])
            position += len(block)
            progress.update(len(block))
    found.append(np.array([[begin], [position - begin], [words_so_far]]))
    spans = np.concatenate(found, axis=1)
    return Spans(Path(path), *spans[:, spans[2] > 0])


def choose(source: Spans, words: int, rng: np.random.Generator) -> Spans:
    """Choose documents with `words` words in total: all documents as often as needed, then some at random.

    Each pass keeps the order of the file. The last document is cut after a sentence, near the number of words; if it
    has no sentence so short, it is taken whole or left out, whichever is nearer. At least one document is taken.
    """
    if words == 0:
        return source.take(np.empty(0, np.int64))
    passes, rest = divmod(words, source.total_words)
    everything = np.arange(len(source.words))
    shuffled = rng.permutation(len(source.words))
    count = int(np.searchsorted(np.cumsum(source.words[shuffled]), rest, side="right"))
    chosen = source.take(np.concatenate([np.tile(everything, passes), np.sort(shuffled[:count])]))
    missing = words - chosen.total_words
    if missing > CUT_ABOVE * words:
        whole = source.take(shuffled[count : count + 1])
        last = _cut_at_sentence(whole, missing)
        if not len(last.words) and (not len(chosen.words) or whole.total_words < 2 * missing):
            last = whole
        chosen = Spans(
            source.path,
            *(np.concatenate([getattr(chosen, name), getattr(last, name)]) for name in ("offset", "length", "words")),
        )
    return chosen


def _cut_at_sentence(document: Spans, words: int) -> Spans:
    """The start of one document, up to the last end of a sentence within its first `words` words.

    If none ends in the last `LONGEST_SENTENCE` bytes, the end of a line counts; without one, there is no document.
    """
    start, size = int(document.offset[0]), _bytes_of_words(document, words)
    tail = max(0, size - LONGEST_SENTENCE)
    with open(document.path, "rb") as file:
        file.seek(start + tail)
        text = file.read(size - tail)
    ends = [match.end() for match in _SENTENCE_END.finditer(text)] or [
        match.end() for match in re.finditer(b"\n", text)
    ]
    lost = int(mark_words(text)[ends[-1] :].sum()) if ends else words
    if lost == words:
        return document.take(np.empty(0, np.int64))
    return Spans(document.path, document.offset, np.array([tail + ends[-1]]), np.array([words - lost]))


def _bytes_of_words(document: Spans, words: int) -> int:
    """The length in bytes of the first `words` words of a document, which must have more words."""
    with open(document.path, "rb") as file:
        file.seek(int(document.offset[0]))
        for offset, block in read_blocks(file, document.path):
            starts = np.flatnonzero(mark_words(block))
            if len(starts) > words:
                return offset + int(starts[words])
            words -= len(starts)
    raise AssertionError("the document has fewer words than were counted")


def _write_interleaved(sources: list[Spans], output: str | Path) -> None:
    """Second pass: copy all documents so that each part of the file has its share of each source.

    A document whose middle is at 30 % of its source's words goes to 30 % of the output.
    """
    position = [(np.cumsum(s.words) - s.words / 2) / max(s.total_words, 1) for s in sources]
    order = np.argsort(np.concatenate(position), kind="stable")
    which = np.repeat([0, 1], [len(s.words) for s in sources])[order]
    offset = np.concatenate([s.offset for s in sources])[order]
    length = np.concatenate([s.length for s in sources])[order]
    with (
        atomic_write(output, "wb") as out,
        ExitStack() as stack,
        Progress(int(length.sum()), f"writing {output}", "B") as progress,
    ):
        files = [
            stack.enter_context(open(s.path, "rb", BLOCK_BYTES)) if len(s.words) else io.BytesIO() for s in sources
        ]
        for first in range(0, len(order), 1 << 16):  # in slices, because lists take more memory than arrays
            part = slice(first, first + (1 << 16))
            for k, start, size in zip(which[part].tolist(), offset[part].tolist(), length[part].tolist(), strict=True):
                _copy_document(files[k], start, size, out)
            progress.update(int(length[part].sum()))


def _copy_document(file: BinaryIO, start: int, size: int, out: IO[bytes]) -> None:
    """Copy `size` bytes from `start`, without line ends around them, and write the separator line."""
    file.seek(start)
    if size <= BLOCK_BYTES:
        out.write(file.read(size).strip(_LINE_ENDS) + _END)
        return
    out.write(file.read(BLOCK_BYTES).lstrip(_LINE_ENDS))
    for left in range(size - BLOCK_BYTES, 0, -BLOCK_BYTES):
        piece = file.read(min(left, BLOCK_BYTES))
        out.write(piece.rstrip() if left <= BLOCK_BYTES else piece)
    out.write(_END)
