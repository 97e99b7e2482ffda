"""Fit embeddings and a head to the counts of token pairs: the bigram model that a training can start from."""

import argparse

from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.fit_bigram", __doc__,
        "--tokens data/tokens/train.npy --vocab_size 10000 --d_model 512 --output results/bigram.pt",
    )  # fmt: skip
    parser.add_argument("--tokens", nargs="+", required=True, metavar="NPY", help="Training tokens (or shards)")
    cli.add_setting(parser, "tokenizer.vocab_size", minimum=1)
    cli.add_setting(parser, "model.d_model")
    cli.add_threads(parser)
    parser.add_argument("--output", default="bigram.pt", metavar="FILE", help="File to write")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> None:
    from minlm.atomic import check_writable
    from minlm.fast.memory import keep_freed_memory
    from minlm.training.bigram_file import fit_to_file
    from minlm.training.device import set_threads

    set_threads(arguments.threads)
    keep_freed_memory()
    check_writable(arguments.output)
    fit_to_file(arguments.tokens, arguments.vocab_size, arguments.d_model, arguments.output)


if __name__ == "__main__":
    main()
