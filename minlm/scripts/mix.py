"""Mix the base corpus with ancient books into the corpus that the tokenizer and the model see."""

import argparse
import time
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.mix",
        "Mix a base corpus with ancient books, evenly along the file. With share 0 and no target it copies the base.",
        "python -m minlm.scripts.mix --base_train data/tinystories/train.txt --base_valid data/tinystories/valid.txt "
        "--ancients_train data/ancients/train.txt --ancients_valid data/ancients/valid.txt --share 0.4 "
        "--output_train data/corpus/train.txt --output_valid data/corpus/valid.txt",
    )
    parser.add_argument("--base_train", required=True, metavar="FILE", help="training text of the base corpus")
    parser.add_argument("--base_valid", required=True, metavar="FILE", help="validation text of the base corpus")
    parser.add_argument("--ancients_train", metavar="FILE", help="training text of the ancient books")
    parser.add_argument("--ancients_valid", metavar="FILE", help="validation text of the ancient books")
    parser.add_argument(
        "--share", type=cli.real(0, 1), default=0.0, help="fraction of the words that is from ancient books"
    )
    parser.add_argument(
        "--target_total_words",
        type=cli.whole(20, 10**13),
        metavar="N",
        help="words to write, 95%% of them training text (default: all)",
    )
    parser.add_argument(
        "--seed", type=cli.whole(0, cli.LARGEST_SEED), default=0, help="chooses the documents when not all are needed"
    )
    parser.add_argument("--output_train", required=True, metavar="FILE", help="training text to write")
    parser.add_argument("--output_valid", required=True, metavar="FILE", help="validation text to write")
    parser.add_argument("--output_record", metavar="FILE", help="JSON to write: how much was taken from which source")
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.corpus.mix import mix_corpora

    start = time.perf_counter()
    ancients = (arguments.ancients_train, arguments.ancients_valid)
    mix_corpora(
        base=(arguments.base_train, arguments.base_valid),
        ancients=None if None in ancients else ancients,
        outputs=(arguments.output_train, arguments.output_valid),
        share=arguments.share,
        target_total_words=arguments.target_total_words,
        seed=arguments.seed,
        record=arguments.output_record,
    )
    log.info(f"wrote {arguments.output_train} and {arguments.output_valid} in {time.perf_counter() - start:.1f} s")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
