"""Count the words (pre-tokens) of a corpus. train_tokenizer takes the counts instead of the text."""

import argparse

from minlm.scripts import cli
from minlm.scripts.text_options import add_text_options, text_options


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.count_words", __doc__,
        "--inputs data/corpus/train.txt --output data/tokenizer/word_counts.npz",
    )  # fmt: skip
    parser.add_argument(
        "--inputs", nargs="+", required=True, metavar="FILE", help="UTF-8 texts, or counts of this program to add up"
    )
    cli.add_settings(parser, "tokenizer", "pattern", "special_tokens")
    parser.add_argument("--output", required=True, metavar="FILE.npz", help="Word counts to write")
    add_text_options(parser)
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.bulk.count_words import count_words_to_file

    options = text_options(arguments)
    counts = count_words_to_file(
        arguments.inputs, arguments.special_tokens, arguments.output, options, arguments.pattern
    ).counts
    return f"count_words: {arguments.output}: {len(counts):,} different words, {counts.sum():,} in all,"


if __name__ == "__main__":
    main()
