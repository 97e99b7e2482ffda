"""Write the sample corpus, the Bible in Basic English: each chapter a document, each verse a line."""

import argparse

from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.sample_corpus", __doc__,
        "--output_train data/train.txt --output_valid data/valid.txt",
    )  # fmt: skip
    parser.add_argument("--output_train", required=True, metavar="FILE", help="Training text to write")
    parser.add_argument("--output_valid", required=True, metavar="FILE", help="Validation text to write")
    cli.add_settings(parser, "corpus.sample")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.corpus.bible import write_sample

    counts = write_sample(arguments.output_train, arguments.output_valid, arguments.valid_every)
    return (
        f"wrote {arguments.output_train} ({counts['train']:,} chapters) and {arguments.output_valid} "
        f"({counts['valid']:,} chapters)"
    )


if __name__ == "__main__":
    main()
