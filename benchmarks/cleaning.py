"""What cleaning keeps of Project Gutenberg's books: words of the body, lines of license text, first and last words.

The body is what lies between Project Gutenberg's markers, so that nothing but the cleaning itself is judged.

    python benchmarks/cleaning.py data/ancients/books/*.txt
"""

import argparse
import re
from pathlib import Path

from minlm.corpus.gutenberg.boilerplate import LICENSE, cut_header_and_footer
from minlm.corpus.gutenberg.books import decode
from minlm.corpus.gutenberg.cleaning import clean_book, normalize_spaces

SUSPICIOUS = re.compile(rf"{LICENSE.pattern}|gutenberg|transcriber|copyright|\be-?(?:text|book)\b", re.I)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("books", nargs="+", type=Path, metavar="FILE", help="as fetched from Project Gutenberg")
    books = parser.parse_args().books
    if missing := [path for path in books if not path.is_file()]:
        parser.error(f"{missing[0]} is no file; name the books one by one")
    print("| book | words | of the body | cleaned | kept | lines of license text |\n|---|---|---|---|---|---|")
    ends = []
    for path in books:
        text, _ = decode(path.read_bytes())
        body, _ = cut_header_and_footer(normalize_spaces(text)[0])
        cleaned, counts = clean_book(text)
        words = [len(re.findall(r"\b\w+\b", part)) for part in (text, body, cleaned)]
        license_lines = [line for line in cleaned.split("\n") if SUSPICIOUS.search(line)]
        print(
            f"| {path.stem} | {words[0]:,} | {words[1]:,} | {words[2]:,} | {words[2] / max(words[1], 1):.1%} "
            f"| {len(license_lines)} |"
        )
        ends.append(f"{path.stem}: {cleaned[:120]!r} … {cleaned[-120:]!r}")
        ends += [f"    license text? {line[:100]!r}" for line in license_lines]
        ends.append("    " + ", ".join(f"{name} {count:,}" for name, count in counts.items() if count))
    print("\n" + "\n".join(ends))


if __name__ == "__main__":
    main()
