"""Write the pages of the report that no other step makes."""

import argparse
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.report_pages",
        "Write the report's pages: corpus, tokenizer (texts cut into tokens, in color), evaluation, samples, and the "
        "machine and versions that are in use.",
        "python -m minlm.scripts.report_pages --vocab_path data/tokenizer/vocab.json --merges_path "
        "data/tokenizer/merges.txt --corpus results/corpus.csv --evaluation results/evaluation.json "
        "--samples results/samples.txt --output_dir pages",
    )
    parser.add_argument("--vocab_path", required=True, metavar="FILE", help="vocab.json of the tokenizer")
    parser.add_argument("--merges_path", required=True, metavar="FILE", help="merges.txt of the tokenizer")
    parser.add_argument("--corpus", required=True, metavar="FILE", help="table of corpus_report")
    parser.add_argument("--evaluation", required=True, metavar="FILE", help="evaluation.json of the model")
    parser.add_argument("--samples", required=True, metavar="FILE", help="samples.txt of the model")
    parser.add_argument(
        "--texts", nargs="+", metavar="TEXT", help="texts to cut",
        default=[
            "In the beginning God made the heaven and the earth.",
            "Language models read tokens: pieces of words, numbers like 1234, and punctuation!",
            "Naïve café, Ἐν ἀρχῇ ἦν ὁ λόγος, 你好 🙂",
        ],
    )  # fmt: skip
    parser.add_argument("--output_dir", required=True, metavar="DIR", help="folder for the pages")
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from minlm.documents import SEPARATOR
    from minlm.reports import run_pages as report
    from minlm.tokenization import BPETokenizer

    tokenizer = BPETokenizer.from_files(arguments.vocab_path, arguments.merges_path, [SEPARATOR])
    folder = Path(arguments.output_dir)
    report.write_corpus_page(folder / "corpus.html", arguments.corpus)
    report.write_tokenizer_page(folder / "tokenizer.html", tokenizer, [text for text in arguments.texts if text])
    report.write_evaluation_page(folder / "evaluation.html", arguments.evaluation)
    report.write_samples_page(folder / "samples.html", arguments.samples)
    report.write_environment_page(folder / "environment.html")
    log.info(f"wrote {folder}: pages for corpus, tokenizer, evaluation, samples and environment")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
