"""Compare several finished runs: table, picture and page."""

import argparse
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.compare",
        "Compare finished runs. Each folder has the evaluation.json, metrics.csv and samples.txt of one run.",
        "python -m minlm.scripts.compare --runs results/experiments/* --output_html results/comparison.html "
        "--output_png results/comparison.png --output_csv results/comparison.csv",
    )
    parser.add_argument("--runs", nargs="*", required=True, metavar="DIR", help="folders of finished runs")
    parser.add_argument("--settings", nargs="*", metavar="TEXT", help="what is special about each run, in their order")
    parser.add_argument("--output_html", required=True, metavar="FILE", help="page to write")
    parser.add_argument("--output_png", required=True, metavar="FILE", help="picture to write")
    parser.add_argument("--output_csv", required=True, metavar="FILE", help="table to write")
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.errors import MinlmError
    from minlm.reports.comparison import draw, read_run, write_comparison_page, write_table

    if not arguments.runs:
        raise MinlmError("there is nothing to compare. Name `experiments:` in the configuration; docs/experiments.md.")
    settings = arguments.settings or [""] * len(arguments.runs)
    if len(settings) != len(arguments.runs):
        raise MinlmError(f"{len(arguments.runs)} --runs, but {len(settings)} --settings: give one for each run.")
    runs = [read_run(folder, text) for folder, text in zip(arguments.runs, settings, strict=True)]
    write_table(arguments.output_csv, runs)
    draw(arguments.output_png, runs)
    write_comparison_page(arguments.output_html, runs, arguments.output_png)
    best = min(runs, key=lambda run: run.row["bits_per_byte"])
    log.info(
        f"wrote {arguments.output_html}: {len(runs)} runs, the best is {best.name} "
        f"with {best.row['bits_per_byte']:.3f} bits/byte"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
