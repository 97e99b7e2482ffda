"""Remove from a Project Gutenberg text what is not part of the work, and join the wrapped lines of its prose."""

import argparse

from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.clean_book", __doc__,
        "--input data/ancients/books/1497.txt --output data/ancients/clean/1497.txt",
    )  # fmt: skip
    parser.add_argument("--input", required=True, metavar="FILE", help="Book as fetched")
    parser.add_argument("--output", required=True, metavar="FILE", help="Cleaned text to write")
    cli.add_setting(parser, "ancients.light_cleaning", "--light")
    cli.add_setting(parser, "ancients.keep_typography")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.corpus.gutenberg.cleaning import clean_file

    words, counts = clean_file(arguments.input, arguments.output, arguments.light, arguments.keep_typography)
    changes = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    return f"wrote {arguments.output}: {words:,} words; removed or changed: {changes or 'nothing'},"


if __name__ == "__main__":
    main()
