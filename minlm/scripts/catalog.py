"""Write Gutendex's catalog of books by ancient authors as JSON lines. An existing catalog is left alone."""

import argparse

from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.catalog", __doc__,
        "--author_year_end 100 --languages en --output data/ancients/catalog.jsonl",
    )  # fmt: skip
    cli.add_settings(parser, "ancients", "gutendex_url", "author_year_end", "languages", "request_delay")
    parser.add_argument("--output", default="data/ancients/catalog.jsonl", metavar="FILE", help="Catalog to write")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.corpus.gutenberg.catalog import write_catalog

    books = write_catalog(
        arguments.gutendex_url, arguments.author_year_end, arguments.languages, arguments.request_delay,
        arguments.output,
    )  # fmt: skip
    return f"{arguments.output}: {books:,} books"


if __name__ == "__main__":
    main()
