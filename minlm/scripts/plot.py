"""Draw the training curves."""

import argparse
from collections.abc import Sequence

from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.plot",
        "Draw the curves of a training run: loss_vs_iter.png, loss_vs_time.png and speed_vs_iter.png.",
        "python -m minlm.scripts.plot --metrics results/metrics.csv --output_dir results/plots",
    )
    parser.add_argument("--metrics", required=True, metavar="CSV", help="the metrics that nlm-train wrote")
    parser.add_argument("--output_dir", default="plots", metavar="DIR", help="folder of the pictures")
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.progress import log
    from minlm.reports.plots import draw_plots, read_metrics

    paths = draw_plots(read_metrics(arguments.metrics), arguments.output_dir)
    log.info(f"wrote {', '.join(str(path) for path in paths)}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
