"""Read the Gutendex catalog of books by ancient authors."""

import argparse
import time
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.catalog",
        "Write Gutendex's catalog of books by ancient authors as JSON lines. A catalog that is there is left alone.",
        "python -m minlm.scripts.catalog --author_year_end 100 --languages en --output data/ancients/catalog.jsonl",
    )
    parser.add_argument("--gutendex_url", default="https://gutendex.com/books/", metavar="URL", help="list of books")
    parser.add_argument(
        "--author_year_end",
        type=cli.whole(-10_000, 10_000),
        default=500,
        metavar="YEAR",
        help="some author was born or died by this year",
    )
    parser.add_argument("--languages", nargs="+", default=["en"], metavar="CODE", help="two-letter codes")
    parser.add_argument(
        "--request_delay", type=cli.real(0, 3600), default=0.3, metavar="SECONDS", help="between two requests"
    )
    parser.add_argument("--output", default="data/ancients/catalog.jsonl", metavar="FILE", help="catalog to write")
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.corpus.gutenberg.catalog import write_catalog

    start = time.perf_counter()
    books = write_catalog(
        arguments.gutendex_url,
        arguments.author_year_end,
        arguments.languages,
        arguments.request_delay,
        arguments.output,
    )
    log.info(f"{arguments.output}: {books:,} books, in {time.perf_counter() - start:.1f} s")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
