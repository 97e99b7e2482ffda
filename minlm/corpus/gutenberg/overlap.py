"""Counting the passages that training and validation books share."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from minlm.progress import log

PASSAGE = 12  # words
MUCH = 0.01  # of the passages of a book: it is probably another version of one that is held out


def report_overlap(train: Iterable[Path], valid: Iterable[Path]) -> int:
    """Count the passages of 12 words in the validation books that are in training books too, and log the number.

    Returns:
        The number of different passages that both have.
    """
    held_out = {passage for path in valid for passage in _passages(path)}
    shared: set[int] = set()
    for path in train:
        passages = set(_passages(path))
        common = passages & held_out
        shared |= common
        if len(common) > MUCH * len(passages):
            log.warning(
                f"warning: {len(common):,} passages of {PASSAGE} words in book {path.stem} are also in the validation "
                "text; if it is another version of a book there, name one of the two in ancients.exclude"
            )
    log.info(f"{len(shared):,} of {len(held_out):,} passages of {PASSAGE} words in the validation text are in training")
    return len(shared)


def _passages(path: Path) -> Iterator[int]:
    """The hash of each passage of a book, without case and punctuation."""
    words = re.findall(r"\w+", path.read_text(encoding="utf-8").casefold())
    return map(hash, zip(*(words[i:] for i in range(PASSAGE)), strict=False))
