"""Cut the cleaned books into documents for training and validation."""

import argparse
import time
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.build_ancients",
        "Cut cleaned books into documents, shuffle them, and hold whole books out for validation.",
        "python -m minlm.scripts.build_ancients --inputs data/ancients/clean/*.txt",
    )
    parser.add_argument("--inputs", nargs="+", required=True, metavar="FILE", help="cleaned books")
    parser.add_argument(
        "--min_words", type=cli.whole(1, 10**9), default=500, metavar="N", help="fewest words of a document"
    )
    parser.add_argument(
        "--max_words", type=cli.whole(1, 10**9), default=1000, metavar="N", help="most words of a document"
    )
    parser.add_argument(
        "--valid_fraction",
        type=cli.real(0, 1, above=True, below=True),
        default=0.05,
        help="fraction of the words held out",
    )
    parser.add_argument(
        "--max_failed", type=cli.real(0, 1), default=0.05, help="fraction of the books that may be empty (not fetched)"
    )
    parser.add_argument(
        "--seed",
        type=cli.whole(0, cli.LARGEST_SEED),
        default=0,
        help="of the shuffling and of the choice of books held out",
    )
    parser.add_argument("--output_train", default="data/ancients/train.txt", metavar="FILE", help="text to write")
    parser.add_argument("--output_valid", default="data/ancients/valid.txt", metavar="FILE", help="text to write")
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.corpus.gutenberg.chunks import build_ancients

    start = time.perf_counter()
    pieces = build_ancients(
        arguments.inputs,
        arguments.output_train,
        arguments.output_valid,
        min_words=arguments.min_words,
        max_words=arguments.max_words,
        valid_fraction=arguments.valid_fraction,
        max_failed=arguments.max_failed,
        seed=arguments.seed,
    )
    for split, output in (("train", arguments.output_train), ("valid", arguments.output_valid)):
        words = sum(piece.words for piece in pieces[split])
        log.info(f"wrote {output}: {len(pieces[split]):,} documents, {words:,} words")
    log.info(f"took {time.perf_counter() - start:.1f} s")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
