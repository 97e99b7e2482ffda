"""Cut cleaned books into documents, shuffle them, and hold whole books out for validation."""

import argparse

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser("python -m minlm.scripts.build_ancients", __doc__, "--inputs data/ancients/clean/*.txt")
    parser.add_argument("--inputs", nargs="+", required=True, metavar="FILE", help="Cleaned books")
    cli.add_settings(parser, "ancients", "min_words", "max_words", "valid_fraction", "max_failed")
    cli.add_setting(parser, "corpus.seed")
    parser.add_argument("--output_train", default="data/ancients/train.txt", metavar="FILE", help="Text to write")
    parser.add_argument("--output_valid", default="data/ancients/valid.txt", metavar="FILE", help="Text to write")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.corpus.gutenberg.chunks import build_ancients

    pieces = build_ancients(
        arguments.inputs, arguments.output_train, arguments.output_valid, min_words=arguments.min_words,
        max_words=arguments.max_words, valid_fraction=arguments.valid_fraction, max_failed=arguments.max_failed,
        seed=arguments.seed,
    )  # fmt: skip
    for split, output in (("train", arguments.output_train), ("valid", arguments.output_valid)):
        words = sum(piece.words for piece in pieces[split])
        log.info(f"wrote {output}: {len(pieces[split]):,} documents, {words:,} words")
    return f"cut {len(arguments.inputs)} books"


if __name__ == "__main__":
    main()
