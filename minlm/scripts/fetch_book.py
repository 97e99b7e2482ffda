"""Fetch one selected book and write it as UTF-8. If that fails for good, the file is empty and the reason is in
failed/ID.txt beside its folder; delete the empty file to try again."""

import argparse

from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.fetch_book", __doc__, "--gutenberg_id 1497 --output data/ancients/books/1497.txt"
    )
    parser.add_argument("--selection", default="data/ancients/selection.csv", metavar="FILE", help="Table of books")
    parser.add_argument(
        "--gutenberg_id", type=cli.whole(1, 10**9), required=True, metavar="ID", help="Book of the table to fetch"
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="Text to write")
    cli.add_setting(parser, "ancients.request_delay")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.corpus.gutenberg.books import fetch_book

    outcome = fetch_book(arguments.selection, arguments.gutenberg_id, arguments.output, arguments.request_delay)
    return f"{arguments.output}: {outcome},"


if __name__ == "__main__":
    main()
