"""Collect the user's own text files into train and valid text."""

import argparse
import time
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.collect_files",
        "Collect your own text files (.txt or .jsonl, each also as .gz or .zst) into train and valid text.",
        "python -m minlm.scripts.collect_files --train 'texts/*.txt' --output_train data/train.txt "
        "--output_valid data/valid.txt",
    )
    parser.add_argument("--train", nargs="+", required=True, metavar="FILE", help="training files or quoted globs")
    parser.add_argument(
        "--valid", nargs="*", default=[], metavar="FILE", help="validation files; without them, documents are held out"
    )
    parser.add_argument(
        "--valid_fraction",
        type=cli.real(0, 1, above=True, below=True),
        default=0.05,
        help="fraction of the documents held out",
    )
    parser.add_argument(
        "--documents",
        choices=("separator", "file", "blank_line"),
        default="separator",
        help="where a document ends: at <|endoftext|>, at the end of its file, or at a blank line",
    )
    parser.add_argument("--text_field", default="text", metavar="KEY", help="key of the text in .jsonl files")
    parser.add_argument(
        "--seed", type=cli.whole(0, cli.LARGEST_SEED), default=0, help="another seed holds out other documents"
    )
    parser.add_argument("--output_train", required=True, metavar="FILE", help="training text to write")
    parser.add_argument("--output_valid", required=True, metavar="FILE", help="validation text to write")
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.corpus.local_files import collect_files

    start = time.perf_counter()
    counts = collect_files(
        train=arguments.train,
        valid=arguments.valid,
        output_train=arguments.output_train,
        output_valid=arguments.output_valid,
        documents=arguments.documents,
        valid_fraction=arguments.valid_fraction,
        text_field=arguments.text_field,
        seed=arguments.seed,
    )
    log.info(
        f"wrote {arguments.output_train} ({counts['train']:,} documents) and {arguments.output_valid} "
        f"({counts['valid']:,} documents) in {time.perf_counter() - start:.1f} s"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
