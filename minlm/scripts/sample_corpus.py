"""Write the sample corpus (the Bible in Basic English) as train and valid text."""

import argparse
import time
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.sample_corpus",
        "Write the sample corpus: the Bible in Basic English, a chapter a document, a verse a line.",
        "python -m minlm.scripts.sample_corpus --output_train data/train.txt --output_valid data/valid.txt",
    )
    parser.add_argument("--output_train", required=True, metavar="FILE", help="training text to write")
    parser.add_argument("--output_valid", required=True, metavar="FILE", help="validation text to write")
    parser.add_argument(
        "--valid_every",
        type=cli.whole(2, 1189),
        default=20,
        metavar="N",
        help="every N-th chapter is held out for validation",
    )
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.corpus.bible import write_sample

    start = time.perf_counter()
    counts = write_sample(arguments.output_train, arguments.output_valid, arguments.valid_every)
    log.info(
        f"wrote {arguments.output_train} ({counts['train']} chapters) and {arguments.output_valid} "
        f"({counts['valid']} chapters) in {time.perf_counter() - start:.1f} s"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
