"""Choose from the catalog: ancient works in the public domain, one version of each, with a plain text."""

import argparse
from collections import Counter

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.selection", __doc__, "--catalog data/ancients/catalog.jsonl --max_books 20"
    )
    parser.add_argument("--catalog", default="data/ancients/catalog.jsonl", metavar="FILE", help="Catalog to read")
    parser.add_argument("--output", default="data/ancients/selection.csv", metavar="FILE", help="Table to write")
    cli.add_setting(parser, "ancients.author_year_end")
    cli.add_setting(parser, "ancients.max_books", minimum=1)
    cli.add_settings(parser, "ancients", "include", "exclude", "gutendex_url", "request_delay")
    parser.add_argument(
        "--books_dir", default="data/ancients/books", metavar="DIR", help="Folder of the books, for the table"
    )
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> None:
    from minlm.corpus.gutenberg.selection import write_selection

    choices = write_selection(
        arguments.catalog, arguments.output, arguments.author_year_end, arguments.max_books, arguments.include,
        arguments.exclude, arguments.books_dir, arguments.gutendex_url, arguments.request_delay,
    )  # fmt: skip
    kept = sum(choice.kept for choice in choices)
    for kind, number in Counter(choice.kind for choice in choices).most_common():
        log.info(f"{number:5} {kind}")
    log.info(f"wrote {arguments.output}: {kept} of {len(choices)} books kept")


if __name__ == "__main__":
    main()
