"""Collect your own files, texts and tables, into training and validation text."""

import argparse

from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.collect_files", __doc__,
        "--train 'texts/*.txt' --output_train data/train.txt --output_valid data/valid.txt",
    )  # fmt: skip
    parser.add_argument("--train", nargs="+", required=True, metavar="FILE", help="Training files or quoted globs")
    parser.add_argument(
        "--valid", nargs="*", default=[], metavar="FILE", help="Validation files; without any, documents are held out"
    )
    cli.add_settings(parser, "corpus.files", "valid_fraction", "documents", "text_field")
    cli.add_setting(parser, "corpus.seed")
    parser.add_argument("--output_train", required=True, metavar="FILE", help="Training text to write")
    parser.add_argument("--output_valid", required=True, metavar="FILE", help="Validation text to write")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.corpus.local_files import collect_files

    counts = collect_files(
        **{name: value for name, value in vars(arguments).items() if name not in ("log_file", "given")}
    )
    return (
        f"wrote {arguments.output_train} ({counts['train']:,} documents) and {arguments.output_valid} "
        f"({counts['valid']:,} documents)"
    )


if __name__ == "__main__":
    main()
