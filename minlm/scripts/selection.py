"""Choose books of the catalog, and state for each why it is kept or dropped."""

import argparse
from collections import Counter
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.selection",
        "Choose from the catalog: ancient works in the public domain, one version of each, with a plain text.",
        "python -m minlm.scripts.selection --catalog data/ancients/catalog.jsonl --max_books 20",
    )
    parser.add_argument("--catalog", default="data/ancients/catalog.jsonl", metavar="FILE", help="catalog to read")
    parser.add_argument("--output", default="data/ancients/selection.csv", metavar="FILE", help="table to write")
    parser.add_argument(
        "--author_year_end",
        type=cli.whole(-10_000, 10_000),
        default=500,
        metavar="YEAR",
        help="every author had died by this year",
    )
    parser.add_argument(
        "--max_books", type=cli.whole(1, 10**6), metavar="N", help="keep only the N most downloaded books"
    )
    parser.add_argument(
        "--include", type=cli.whole(1, 10**9), nargs="*", default=[], metavar="ID", help="books to keep in any case"
    )
    parser.add_argument(
        "--exclude", type=cli.whole(1, 10**9), nargs="*", default=[], metavar="ID", help="books to drop in any case"
    )
    parser.add_argument(
        "--books_dir", default="data/ancients/books", metavar="DIR", help="where the books will be (for the table)"
    )
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.corpus.gutenberg.selection import write_selection

    choices = write_selection(
        arguments.catalog,
        arguments.output,
        arguments.author_year_end,
        arguments.max_books,
        arguments.include,
        arguments.exclude,
        arguments.books_dir,
    )
    kept = sum(choice.kept for choice in choices)
    log.info(f"wrote {arguments.output}: {kept} of {len(choices)} books kept")
    for kind, number in Counter(choice.kind for choice in choices).most_common():
        log.info(f"  {number:5} {kind}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
