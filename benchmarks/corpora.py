"""The two texts of the tokenizer's benchmark, made from what is installed: English prose, and Python source.

Prose: all translations of the packages `pythonbible-*` (extra `bench`) in shuffled documents of about 1,500
characters, with 2 % of lines in other scripts. Code: the `.py` files of the environment; it has many more different
words. The same installation gives the same texts.
"""

import random
import re
import sysconfig
import unicodedata
from pathlib import Path

SITE = Path(sysconfig.get_paths()["purelib"])
SEPARATOR = "<|endoftext|>"


def prose(path: Path) -> Path:
    """Write the prose to `path`, unless it is there."""
    if not path.exists():
        rng = random.Random(1)
        foreign = _non_ascii_lines()
        documents = []
        for bible in sorted(SITE.glob("pythonbible_*/plain_text_readers_bible.py")):
            text = re.findall(r'"""(.*?)"""', bible.read_text(encoding="utf-8"), re.S)[0]
            documents += _cut(text, rng)
        if sum(map(len, documents)) < 60e6:
            raise SystemExit('prose: install the translations first: pip install ".[bench]"')
        share = 0.02 * sum(map(len, documents)) / len(documents)  # bytes of other scripts per document
        waiting = 0.0
        for index in range(len(documents)):
            waiting += share
            while waiting > 0:
                line = rng.choice(foreign)
                documents[index] += f"\n{line}\n"
                waiting -= len(line.encode())
        rng.shuffle(documents)
        _write(path, documents)
    return path


def code(path: Path, num_bytes: int = 60_000_000) -> Path:
    """Write Python source to `path`, unless it is there."""
    if not path.exists():
        documents, size = [], 0
        for file in sorted(SITE.rglob("*.py")):
            if "pythonbible" not in str(file) and size < num_bytes:
                text = file.read_text(encoding="utf-8", errors="ignore")
                if text and SEPARATOR not in text and _is_known(text):
                    documents.append(text)
                    size += len(text.encode())
        _write(path, documents)
    return path


def _cut(text: str, rng: random.Random) -> list[str]:
    """Documents of 900 to 2,100 characters that end with a sentence; now and then a new line instead of a space."""
    documents, lines, size, wanted = [], [], 0, rng.randint(900, 2100)
    for sentence in re.split(r"(?<=[.!?;]) ", text):
        lines += [sentence, rng.choice("  " * 4 + "\n")]
        size += len(sentence) + 1
        if size >= wanted:
            documents.append("".join(lines[:-1]))
            lines, size, wanted = [], 0, rng.randint(900, 2100)
    return [*documents, "".join(lines[:-1])] if lines else documents


def _non_ascii_lines() -> list[str]:
    lines = []
    for file in sorted(SITE.rglob("*.py")):
        if "pythonbible" not in str(file):
            text = file.read_text(encoding="utf-8", errors="ignore")
            if not text.isascii():
                lines += [
                    line for line in text.splitlines() if not line.isascii() and len(line) < 2000 and _is_known(line)
                ]
    return lines


def _is_known(text: str) -> bool:
    return text.isascii() or all(unicodedata.category(character) != "Cn" for character in set(text))


def _write(path: Path, documents: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\n{SEPARATOR}\n" for text in documents), encoding="utf-8", newline="")
