"""Write the pages of the report that no other step makes."""

import argparse
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.report_pages",
        "Write two pages: texts cut into tokens, in color, and the machine and the versions that are in use.",
        "python -m minlm.scripts.report_pages --vocab_path data/tokenizer/vocab.json --merges_path "
        "data/tokenizer/merges.txt --output_tokenizer tokenizer.html --output_environment environment.html",
    )
    parser.add_argument("--vocab_path", required=True, metavar="FILE", help="vocab.json of the tokenizer")
    parser.add_argument("--merges_path", required=True, metavar="FILE", help="merges.txt of the tokenizer")
    parser.add_argument(
        "--texts", nargs="+", metavar="TEXT", help="texts to cut",
        default=[
            "In the beginning God made the heaven and the earth.",
            "Language models read tokens: pieces of words, numbers like 1234, and punctuation!",
            "Naïve café, Ἐν ἀρχῇ ἦν ὁ λόγος, 你好 🙂",
        ],
    )  # fmt: skip
    parser.add_argument("--output_tokenizer", required=True, metavar="FILE", help="page to write")
    parser.add_argument("--output_environment", required=True, metavar="FILE", help="page to write")
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.corpus.documents import SEPARATOR
    from minlm.report import write_environment_page, write_tokenizer_page
    from minlm.tokenization import BPETokenizer

    tokenizer = BPETokenizer.from_files(arguments.vocab_path, arguments.merges_path, [SEPARATOR])
    write_tokenizer_page(arguments.output_tokenizer, tokenizer, [text for text in arguments.texts if text])
    write_environment_page(arguments.output_environment)
    log.info(f"report_pages: wrote {arguments.output_tokenizer} and {arguments.output_environment}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
