"""Compare finished runs. Each folder has the evaluation.json, metrics.csv and samples.txt of one run."""

import argparse
import re
from pathlib import Path

from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.compare", __doc__,
        "--runs results/experiments/* --output_html results/comparison.html "
        "--output_png results/comparison.png --output_csv results/comparison.csv",
    )  # fmt: skip
    parser.add_argument("--runs", nargs="*", required=True, metavar="DIR", help="Folders of finished runs")
    parser.add_argument(
        "--settings", nargs="*", metavar="TEXT", help="How each run differs from the others, in the same order"
    )
    parser.add_argument(
        "--groups", nargs="*", metavar="NAME",
        help="Group of each run, in the same order: runs of a group differ only in their seed",
    )  # fmt: skip
    parser.add_argument(
        "--tuned", nargs="*", default=[], metavar="RUN:FROM",
        help="Runs that started from another of them with another text: what was gained and forgotten is shown",
    )  # fmt: skip
    parser.add_argument("--output_html", required=True, metavar="FILE", help="Page to write")
    parser.add_argument("--output_png", required=True, metavar="FILE", help="Picture to write")
    parser.add_argument("--output_csv", required=True, metavar="FILE", help="Table to write")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.errors import MinlmError
    from minlm.reports.comparison import (
        draw,
        grouped,
        read_run,
        transfer,
        verdict,
        write_comparison_page,
        write_table,
    )
    from minlm.reports.figures import save_figure

    if not arguments.runs:
        raise MinlmError("there is nothing to compare. Name `experiments:` in the configuration; docs/experiments.md.")
    settings = arguments.settings or [""] * len(arguments.runs)
    if len(settings) != len(arguments.runs):
        raise MinlmError(f"{len(arguments.runs)} --runs, but {len(settings)} --settings: give one for each run.")
    names = [re.sub(r"-seed=\d+", "", name) for name in arguments.groups or [""] * len(arguments.runs)]
    if len(names) != len(arguments.runs):
        raise MinlmError(f"{len(arguments.runs)} --runs, but {len(names)} --groups: give one for each run.")
    runs = [read_run(*about) for about in zip(arguments.runs, settings, names, strict=True)]
    folders = {Path(folder).name: folder for folder in arguments.runs}
    pairs = [pair.split(":") for pair in arguments.tuned]
    write_table(arguments.output_csv, runs)
    save_figure(draw(runs), arguments.output_png)
    transfers = [transfer(folders[run], folders[parent]) for run, parent in pairs]
    write_comparison_page(arguments.output_html, runs, transfers)
    return f"wrote {arguments.output_html}: {len(runs)} runs; {verdict(grouped(runs))[0]},"


if __name__ == "__main__":
    main()
