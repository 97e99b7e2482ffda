"""Count the words of a corpus, for training tokenizers of any size from it."""

import argparse
import time
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli
from minlm.scripts.text_options import add_text_options, text_options


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.count_words",
        "Count the words (GPT-2 pre-tokens) of a corpus. train_tokenizer takes the counts instead of the text.",
        "python -m minlm.scripts.count_words --inputs data/corpus/train.txt --output data/tokenizer/word_counts.npz",
    )
    parser.add_argument(
        "--inputs", nargs="+", required=True, metavar="FILE", help="UTF-8 texts, or counts of this program to add up"
    )
    parser.add_argument(
        "--special_tokens", nargs="+", default=["<|endoftext|>"], metavar="TOKEN",
        help="the text is split there; they are not counted",
    )  # fmt: skip
    parser.add_argument("--output", required=True, metavar="FILE.npz", help="word counts to write")
    add_text_options(parser)
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.bulk.count_words import count_words_to_file

    start = time.perf_counter()
    options = text_options(arguments)
    counts = count_words_to_file(arguments.inputs, arguments.special_tokens, arguments.output, options).counts
    log.info(
        f"count_words: {arguments.output}: {len(counts):,} different words, {counts.sum():,} in all, "
        f"{time.perf_counter() - start:.1f} s"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
