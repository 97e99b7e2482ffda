"""Write the report's pages: summary (the first page), corpus, tokenizer (texts cut into tokens, in color), evaluation,
samples, and environment (this machine and the versions in use)."""

import argparse

from minlm.scripts import cli
from minlm.scripts.model_options import add_model_options


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.report_pages", __doc__,
        "--checkpoint results/model.pt --vocab_path data/tokenizer/vocab.json "
        "--merges_path data/tokenizer/merges.txt --corpus results/corpus.csv --metrics results/metrics.csv "
        "--loss_curve results/plots/loss_vs_iter.png --evaluation results/evaluation.json "
        "--samples results/samples.txt --output_dir pages",
    )  # fmt: skip
    add_model_options(parser)
    parser.add_argument("--corpus", required=True, metavar="FILE", help="Table of corpus_report")
    parser.add_argument("--metrics", required=True, metavar="FILE", help="metrics.csv of the model")
    parser.add_argument("--loss_curve", required=True, metavar="FILE", help="loss_vs_iter.png of the model")
    parser.add_argument("--evaluation", required=True, metavar="FILE", help="evaluation.json of the model")
    parser.add_argument("--samples", required=True, metavar="FILE", help="samples.txt of the model")
    parser.add_argument(
        "--texts", nargs="+", metavar="TEXT", help="Texts to cut into tokens",
        default=[
            "In the beginning God made the heaven and the earth.",
            "Language models read tokens: pieces of words, numbers like 1234, and punctuation!",
            "Naïve café, Ἐν ἀρχῇ ἦν ὁ λόγος, 你好 🙂",
        ],
    )  # fmt: skip
    parser.add_argument("--settings", nargs="*", default=[], metavar="KEY=VALUE", help="Settings of text and tokenizer")
    parser.add_argument("--unused", nargs="*", default=[], metavar="KEY", help="Settings that had no effect")
    parser.add_argument("--output_dir", required=True, metavar="DIR", help="Folder for the pages")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from pathlib import Path

    from minlm.documents import SEPARATOR
    from minlm.reports import run_pages as report
    from minlm.reports.summary import write_summary_page
    from minlm.tokenization import BPETokenizer

    tokenizer = BPETokenizer.from_files(arguments.vocab_path, arguments.merges_path, [SEPARATOR])
    folder = Path(arguments.output_dir)
    write_summary_page(
        folder / "summary.html", arguments.checkpoint, arguments.metrics, arguments.evaluation, arguments.samples,
        arguments.loss_curve, arguments.settings, arguments.unused,
    )  # fmt: skip
    report.write_corpus_page(folder / "corpus.html", arguments.corpus)
    report.write_tokenizer_page(folder / "tokenizer.html", tokenizer, [text for text in arguments.texts if text])
    report.write_evaluation_page(folder / "evaluation.html", arguments.evaluation)
    report.write_samples_page(folder / "samples.html", arguments.samples)
    report.write_environment_page(folder / "environment.html")
    return f"wrote {folder}: pages for summary, corpus, tokenizer, evaluation, samples and environment"


if __name__ == "__main__":
    main()
