"""What cleaning keeps and leaves of eleven Project Gutenberg books whose notes and marks are described here by hand.

The words of a book are divided without the code that is measured. `BOOKS` names, for each book, the first line of the
work (a translator's preface belongs to it), what follows its last line, the passages in it that are notes, contents,
index or captions, and the marks. All else is the work's own, except headings: lines in capitals or a number alone.

- kept: of the work's own words, by their number of occurrences
- notes: five words in a row of the notes that are in the result and not in the work, of all in the result
- marks: places of the result that match the pattern of the book's marks
- speakers: lines with the name of a speaker that are missing in the result
- license: lines that mention Project Gutenberg, transcribers, or electronic texts

    python benchmarks/cleaning.py FOLDER [FOLDER ...]

gutenbergpy and gutenberg-cleaner are measured too if they are installed.
"""

import argparse
import importlib.util
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from minlm.corpus.gutenberg.books import decode
from minlm.corpus.gutenberg.cleaning import clean_book

SUSPICIOUS = re.compile(
    r"gutenberg|transcriber|preparer'?s note|copyright (?:\(c\)|laws?)|\be-?(?:text|book)s?\b|small print|^produced by",
    re.I,
)
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass
class Description:
    """What is in the file of a book. All are regular expressions, multi-line."""

    first: str  # the work begins with it
    last: str  # and ends before it
    notes: tuple[str, ...] = ()
    marks: str = r"(?!)"
    speakers: str = r"(?!)"


NOTES_TO_BOOKS = r"^NOTES TO (?:PREFACE|BOOK I+V?)\.?$[\s\S]*?(?=^BOOK |^THE HISTORY|\Z)"
BOOKS = {
    "228-0": Description(r"^The Trojans, after", r"^\*\*\* END"),
    "1497": Description(r"^The Republic of Plato is the", r"^End of|^\*\*\* END"),
    "2199": Description(r"^The quarrel between Agamemnon", r"^End of|^\*\*\* END"),
    "2680-8": Description(
        r"^MARCUS AURELIUS ANTONINUS was", r"^End of", (r"^ {5}\d\.? .*(?:\n {5}.*)*", r"^NOTES$[\s\S]*?(?=^GLOSSARY)"),
        r"(?<=[.,:;'\"A-Za-z-])\(\d\)|Fronto's \(2\)|did \(3\)",
    ),
    "6130-0": Description(
        r"^Scepticism is as much", r"^\*\*\*END", (r"^ *\[Illustration[^]]*\]\n*.*$", r"^FOOTNOTES$[\s\S]*"),
        r"\[\d+\]|(?<=\S)\(\d+\)",
    ),
    "14417": Description(
        r"^The sense of difficulty", r"^End of", (r"^\[Footnote[^]]*\]", r"^NOTES TO THE AGA[\s\S]*"), r"\[\d+\]",
        r"^(?:[A-Z]+ )?[A-Z]+(?: [A-Z])?\.$",
    ),
    "27673": Description(
        r"^If I have turned", r"^End of", (r"^ *\[Sidenote:[^]]*\]", r"^ +NOTES TO$[\s\S]*"), r"\[Sidenote",
        r"^ *[A-Z]+\.$",
    ),
    "3012": Description(
        r"^This is the first of", r"^End of", (r"^ f\(\d+\).*(?:\n .*)*",), r"\(\d+\)",
        r"^(?!THE ACH|DRAMATIS)[A-Z]{3}[A-Z ]+(?=(?:\(\d+\)| \([a-zA-Z ]+\))*$)",
    ),
    "1727": Description(
        r"^This translation is intended", r"^\*\*\* END|^End of", (r"^ +FOOTNOTES$[\s\S]*",), r"\{\d+\}"
    ),
    "2707": Description(
        r"^If a new translation", r"^End of", (NOTES_TO_BOOKS,),
        r"(?<=[a-z.,;:!?\"')])\s\d{1,5}(?=[\s.,;:)]|--)(?!\. [A-Z])"
    ),
    "st15w10": Description(
        r"^C\. Suetonius Tranquillus was", r"^End of|\*\*\* END",
        (r"^CONTENTS$[\s\S]*?^ INDEX$", r"^FOOTNOTES$[\s\S]*"), r"\[\d+\]|\(\d+\)",
    ),
}  # fmt: skip
HEADING = re.compile(r"^[ ]*(?:[^a-z\n]*[A-Z][^a-z\n]*|[IVXLC\d]+\.?)$", re.M)


def describe(name: str, text: str) -> tuple[str, str]:
    """Divide a book into the work's own text and its notes. Both are without marks."""
    book = BOOKS[name]
    start = re.search(book.first.replace("^", "^ *"), text, re.M)
    assert start is not None, f"{name} does not have the first line {book.first}"
    end = re.compile(book.last, re.M).search(text, start.start())
    work, notes = text[start.start() : end.start() if end else len(text)], []
    for pattern in book.notes:
        notes += [match[0] for match in re.finditer(pattern, work, re.M)]
        work = re.sub(pattern, "", work, flags=re.M)
    return re.sub(r"-\n *(?=[a-z])", "", re.sub(book.marks, "", work, flags=re.M)), "\n".join(notes)


def words(text: str) -> list[str]:
    """The words of a text without case, emphasis and the hyphens that divide them."""
    return WORD.findall(text.casefold().replace("’", "'").replace("-", " ").replace("_", " "))


def fives(text: str) -> Iterator[tuple[str, ...]]:
    """Five words in a row, at each place of a text."""
    found = words(text)
    return zip(*(found[i:] for i in range(5)), strict=False)


def measure(name: str, text: str, cleaned: str) -> str:
    """Compare a cleaned book with its description. Returns cells of a table."""
    work, notes = describe(name, text)
    speakers = Counter(line.strip() for line in re.findall(BOOKS[name].speakers, work, re.M))
    own = Counter(words(HEADING.sub("", work)))
    kept = sum((own & Counter(words(cleaned))).values()) / own.total()
    left = set(fives(notes)) - set(fives(work))
    result = list(fives(cleaned))
    left_share = sum(five in left for five in result) / max(len(result), 1)
    lines = Counter(re.sub(r" *\(.*\)$", "", line.strip()) for line in cleaned.split("\n"))
    license_lines = sum(bool(SUSPICIOUS.search(line)) for line in cleaned.split("\n"))
    marks = len(re.findall(BOOKS[name].marks, cleaned, re.M))
    lost = (speakers - lines).total()
    return f"{kept:.2%} | {left_share:.2%} | {marks} | {lost} of {speakers.total()} | {license_lines}"


def cleaners() -> dict[str, Callable[[bytes, str], str]]:
    """The programs to compare: each makes clean text from the bytes of a file and their text."""
    found: dict[str, Callable[[bytes, str], str]] = {"minlm": lambda data, text: clean_book(text)[0]}
    if importlib.util.find_spec("gutenbergpy"):
        from gutenbergpy.textget import strip_headers  # type: ignore[import-not-found]

        found["gutenbergpy"] = lambda data, text: strip_headers(text.encode()).decode()
    if importlib.util.find_spec("gutenberg_cleaner"):
        from gutenberg_cleaner import super_cleaner  # type: ignore[import-not-found]

        found["gutenberg-cleaner"] = lambda data, text: super_cleaner(text, -1, -1).replace("[deleted]", "")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="with the books as they were fetched")
    folders = parser.parse_args().folders
    paths = {path.stem: path for folder in folders for path in folder.glob("*.txt") if path.stem in BOOKS}
    print("| book | cleaned by | kept | notes | marks | speakers lost | license lines | CPU s |")
    print("|" + 8 * "---|")
    for name in BOOKS:
        if name not in paths:
            continue
        data = paths[name].read_bytes()
        text, _ = decode(data)
        for cleaner, clean in cleaners().items():
            begin = time.process_time()
            cleaned = clean(data, text)
            seconds = time.process_time() - begin
            print(f"| {name} | {cleaner} | {measure(name, text, cleaned)} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
