"""Count the documents, words and tokens of corpora; draw the lengths of documents and the most frequent words."""

import argparse

from minlm.cores import usable_threads
from minlm.scripts import cli
from minlm.scripts.model_options import add_tokenizer_options


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.corpus_report", __doc__,
        "--corpora sample=data/sample --vocab_path data/tokenizer/vocab.json --merges_path data/tokenizer/merges.txt "
        "--output_csv results/corpus.csv --output_png results/corpus.png",
    )  # fmt: skip
    parser.add_argument(
        "--corpora", nargs="+", type=_name_and_folder, required=True, metavar="NAME=FOLDER",
        help="Folders with train.txt and valid.txt; the last of several is the mix",
    )  # fmt: skip
    parser.add_argument("--mixture", metavar="FILE", help="mixture.json of the mix: adds share and passes")
    add_tokenizer_options(parser)
    cli.add_threads(parser)
    parser.add_argument("--output_csv", required=True, metavar="FILE", help="Table to write")
    parser.add_argument("--output_png", required=True, metavar="FILE", help="Picture to write")
    return parser


def _name_and_folder(value: str) -> tuple[str, str]:
    name, equals, folder = value.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{value!r} is not a name and a folder such as sample=data/sample")
    return name, folder


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.bulk.options import Options
    from minlm.documents import SEPARATOR
    from minlm.reports.corpus import report_corpora
    from minlm.tokenization import BPETokenizer

    report_corpora(
        dict(arguments.corpora),
        BPETokenizer.from_files(arguments.vocab_path, arguments.merges_path, [SEPARATOR]),
        arguments.output_csv,
        arguments.output_png,
        arguments.mixture,
        Options(threads=arguments.threads and usable_threads(arguments.threads)),
    )
    return f"wrote {arguments.output_csv} and {arguments.output_png}"


if __name__ == "__main__":
    main()
