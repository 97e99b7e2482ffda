"""Compare finished runs. Each folder has the evaluation.json, metrics.csv and samples.txt of one run."""

import argparse

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
    parser.add_argument("--output_html", required=True, metavar="FILE", help="Page to write")
    parser.add_argument("--output_png", required=True, metavar="FILE", help="Picture to write")
    parser.add_argument("--output_csv", required=True, metavar="FILE", help="Table to write")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.errors import MinlmError
    from minlm.reports.comparison import draw, read_run, write_comparison_page, write_table
    from minlm.reports.figures import save_figure

    if not arguments.runs:
        raise MinlmError("there is nothing to compare. Name `experiments:` in the configuration; docs/experiments.md.")
    settings = arguments.settings or [""] * len(arguments.runs)
    if len(settings) != len(arguments.runs):
        raise MinlmError(f"{len(arguments.runs)} --runs, but {len(settings)} --settings: give one for each run.")
    runs = [read_run(folder, text) for folder, text in zip(arguments.runs, settings, strict=True)]
    write_table(arguments.output_csv, runs)
    save_figure(draw(runs), arguments.output_png)
    write_comparison_page(arguments.output_html, runs)
    best = min(runs, key=lambda run: run.row["bits_per_byte"])
    return (
        f"wrote {arguments.output_html}: {len(runs)} runs, the best is {best.name} "
        f"with {best.row['bits_per_byte']:.3f} bits/byte,"
    )


if __name__ == "__main__":
    main()
