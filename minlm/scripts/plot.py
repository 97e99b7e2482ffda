"""Draw the curves of a training run: loss_vs_iter.png, loss_vs_time.png and speed_vs_iter.png."""

import argparse

from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.plot", __doc__, "--metrics results/metrics.csv --output_dir results/plots"
    )
    parser.add_argument("--metrics", required=True, metavar="CSV", help="Metrics that nlm-train wrote")
    parser.add_argument("--output_dir", default="plots", metavar="DIR", help="Folder for the pictures")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.reports.plots import draw_plots, read_metrics

    paths = draw_plots(read_metrics(arguments.metrics), arguments.output_dir)
    return f"wrote {', '.join(str(path) for path in paths)}"


if __name__ == "__main__":
    main()
