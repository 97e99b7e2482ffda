"""Report what the corpora hold: a table and a picture."""

import argparse
import time
from collections.abc import Sequence

from minlm.cores import usable_threads
from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.corpus_report",
        "Count the documents, words and tokens of corpora, and draw the lengths of their documents and their most "
        "frequent words.",
        "python -m minlm.scripts.corpus_report --corpora sample=data/sample --vocab_path data/tokenizer/vocab.json "
        "--merges_path data/tokenizer/merges.txt --output_csv results/corpus.csv --output_png results/corpus.png",
    )
    parser.add_argument(
        "--corpora", nargs="+", type=_name_and_folder, required=True, metavar="NAME=FOLDER",
        help="folders with train.txt and valid.txt; the last one is the mix, if there are several",
    )  # fmt: skip
    parser.add_argument("--mixture", metavar="FILE", help="mixture.json that mixing wrote: gives share and passes")
    parser.add_argument("--vocab_path", required=True, metavar="FILE", help="vocab.json of the tokenizer")
    parser.add_argument("--merges_path", required=True, metavar="FILE", help="merges.txt of the tokenizer")
    parser.add_argument("--threads", type=int, metavar="N", help="threads to use at most (default: one for each core)")
    parser.add_argument("--output_csv", required=True, metavar="FILE", help="table to write")
    parser.add_argument("--output_png", required=True, metavar="FILE", help="picture to write")
    return parser


def _name_and_folder(value: str) -> tuple[str, str]:
    name, equals, folder = value.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{value!r} is not a name and a folder such as sample=data/sample")
    return name, folder


def _work(arguments: argparse.Namespace) -> None:
    from minlm.bulk.options import Options
    from minlm.reports.corpus import report_corpora
    from minlm.tokenization import BPETokenizer

    start = time.perf_counter()
    report_corpora(
        dict(arguments.corpora),
        BPETokenizer.from_files(arguments.vocab_path, arguments.merges_path, ["<|endoftext|>"]),
        arguments.output_csv,
        arguments.output_png,
        arguments.mixture,
        Options(threads=arguments.threads and usable_threads(arguments.threads)),
    )
    log.info(f"wrote {arguments.output_csv} and {arguments.output_png} in {time.perf_counter() - start:.1f} s")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
