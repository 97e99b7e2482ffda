"""Train a byte-level BPE tokenizer on a text or on word counts."""

import argparse
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli
from minlm.scripts.text_options import add_text_options, text_options


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "nlm-train-tokenizer",
        "Train a byte-level BPE tokenizer. From data/train.txt it makes train_vocab.json and train_merges.txt.",
        "nlm-train-tokenizer data/corpus/train.txt --vocab_size 2048 --output_dir data/tokenizer",
    )
    parser.add_argument("input_file", help="a UTF-8 text, or word counts (.npz) of count_words")
    parser.add_argument(
        "--vocab_size",
        type=cli.whole(257, 10**7),
        default=10_000,
        metavar="N",
        help="256 bytes, special tokens and merges together",
    )
    parser.add_argument("--output_dir", default=".", metavar="DIR", help="where to write the two files")
    parser.add_argument(
        "--special_tokens", nargs="+", default=["<|endoftext|>"], metavar="TOKEN",
        help="strings that are one token and never merged with others",
    )  # fmt: skip
    parser.add_argument(
        "--prefix", metavar="NAME", help="start of the two file names (default: the input's name and _)"
    )
    parser.add_argument("--profile", action="store_true", help="print where the time went")
    add_text_options(parser, shards=False)
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.bulk.train_tokenizer import train_tokenizer

    made = train_tokenizer(
        arguments.input_file, arguments.output_dir, arguments.prefix, arguments.vocab_size, arguments.special_tokens,
        text_options(arguments),
    )  # fmt: skip
    log.info(
        f"train_tokenizer: {made.vocab_path} and {made.merges_path}: {made.num_tokens:,} tokens, "
        f"{made.num_merges:,} merges, {sum(made.seconds.values()):.1f} s"
    )
    if arguments.profile:
        for name, seconds in made.seconds.items():
            log.info(f"  {name:<9}{seconds:9.3f} s")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
