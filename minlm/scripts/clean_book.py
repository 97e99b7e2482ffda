"""Clean one book: what remains is the work itself."""

import argparse
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.clean_book",
        "Remove from a Project Gutenberg text what is not the work, and join the wrapped lines of its prose.",
        "python -m minlm.scripts.clean_book --input data/ancients/books/1497.txt --output data/ancients/clean/1497.txt",
    )
    parser.add_argument("--input", required=True, metavar="FILE", help="book as it was fetched")
    parser.add_argument("--output", required=True, metavar="FILE", help="cleaned text to write")
    parser.add_argument("--light", action="store_true", help="remove only header and footer, and normalize white space")
    parser.add_argument("--keep_typography", action="store_true", help="keep curly quotes and long dashes")
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.corpus.gutenberg.cleaning import clean_file

    words, counts = clean_file(arguments.input, arguments.output, arguments.light, arguments.keep_typography)
    done = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    log.info(f"wrote {arguments.output}: {words:,} words; removed or changed: {done or 'nothing'}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
