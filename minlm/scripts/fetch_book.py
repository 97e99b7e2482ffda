"""Fetch one selected book from Project Gutenberg."""

import argparse
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.fetch_book",
        "Fetch one selected book and write it as UTF-8. If that fails for good, the file is empty and the reason is "
        "in failed/ID.txt beside its folder; delete the empty file to try again.",
        "python -m minlm.scripts.fetch_book --gutenberg_id 1497 --output data/ancients/books/1497.txt",
    )
    parser.add_argument("--selection", default="data/ancients/selection.csv", metavar="FILE", help="table of books")
    parser.add_argument(
        "--gutenberg_id", type=cli.whole(1, 10**9), required=True, metavar="ID", help="which book of the table"
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="text to write")
    parser.add_argument(
        "--request_delay",
        type=cli.real(0, 3600),
        default=0.3,
        metavar="SECONDS",
        help="between two requests, also of programs that run at the same time",
    )
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.corpus.gutenberg.books import fetch_book

    what = fetch_book(arguments.selection, arguments.gutenberg_id, arguments.output, arguments.request_delay)
    log.info(f"{arguments.output}: {what}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
