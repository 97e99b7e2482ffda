"""Finished runs side by side: a table, a figure, and what they write for the same prompt and seed."""

import base64
import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from minlm.atomic import atomic_write
from minlm.generation.samples_file import Sample, read_samples
from minlm.reports.figures import png, style_axes
from minlm.reports.pages import write_page
from minlm.reports.plots import read_metrics
from minlm.training.evaluation import read_evaluation

COLUMNS = (
    "run", "bits_per_byte", "nats_per_token", "perplexity", "parameters", "tokens_seen", "steps", "seconds",
    "tokens_per_s", "settings",
)  # fmt: skip
FORMATS: dict[str, Callable[[Any], str]] = {  # of the page; the other columns are whole numbers
    "bits_per_byte": "{:.4f}".format,
    "nats_per_token": "{:.4f}".format,
    "perplexity": "{:.1f}".format,
    "seconds": "{:,.1f}".format,
}


@dataclass
class Run:
    """A finished run.

    Attributes:
        name: name of its folder.
        row: its value for each of `COLUMNS`.
        metrics: the rows of its metrics.csv.
        samples: the texts of its samples.txt.
        valid_bytes: size of the validation text that its tokens stand for.
        baseline: bits per byte of the compressors on the same text.
    """

    name: str
    row: dict[str, Any]
    metrics: pd.DataFrame
    samples: list[Sample]
    valid_bytes: int
    baseline: dict[str, float]


def read_run(folder: str | Path, settings: str = "") -> Run:
    """Read a run's evaluation.json, metrics.csv and samples.txt.

    Args:
        folder: holds the three files; its name becomes the run's.
        settings: how the run differs from the others, in words.

    Raises:
        MinlmError: a file is missing or damaged.
    """
    folder = Path(folder)
    evaluation = read_evaluation(folder / "evaluation.json")
    metrics = read_metrics(folder / "metrics.csv")
    last = metrics.iloc[-1]
    row = {
        "run": folder.name,
        **{name: evaluation[name] for name in ("bits_per_byte", "nats_per_token", "perplexity", "parameters")},
        "tokens_seen": int(last["tokens_seen"]),
        "steps": int(last["iter"]),
        "seconds": float(last["elapsed_s"]),
        "tokens_per_s": float(metrics["tokens_per_s"][metrics["val_loss"].notna()].median()),
        "settings": settings,
    }
    samples = read_samples(folder / "samples.txt")
    return Run(folder.name, row, metrics, samples, evaluation["bytes"], evaluation["baseline"])


def write_table(path: str | Path, runs: Sequence[Run]) -> None:
    """Write the rows of all runs as CSV."""
    with atomic_write(path) as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(run.row for run in runs)


def draw(runs: Sequence[Run], narrow: bool = False) -> Figure:
    """Draw validation bits per byte against parameters, tokens and time, side by side or, if `narrow`, stacked."""
    columns = 1 if narrow else 3
    legend_height = 0.22 * math.ceil(len(runs) / columns)
    shape = {"figsize": (4.4, 9 + legend_height)} if narrow else {"figsize": (12, 4 + legend_height)}
    figure, (size, tokens, time) = plt.subplots(3 // columns, columns, sharey=True, layout="constrained", **shape)
    colors = plt.get_cmap("tab10" if len(runs) <= 10 else "viridis")
    for index, run in enumerate(runs):
        color = colors(index if len(runs) <= 10 else index / len(runs))
        final = run.row["bits_per_byte"]
        size.plot(run.row["parameters"], final, "o", color=color, label=run.name)
        _draw_curve(tokens, run, "tokens_seen", color)
        _draw_curve(time, run, "elapsed_s", color)
    for axes, label, unit in ((size, "parameters", ""), (tokens, "tokens seen", ""), (time, "training time", "s")):
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(EngFormatter(unit))
        style_axes(axes)
    for axes in (size, tokens, time)[: 3 // columns]:
        axes.set_ylabel("validation bits per byte")
    size.margins(x=0.15)
    figure.legend(*size.get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _draw_curve(axes: Axes, run: Run, x: str, color: Any) -> None:
    """Draw bits per byte during training, and a dot for the finished model."""
    if "val_bits_per_byte" in run.metrics:
        axes.plot(run.metrics[x], run.metrics["val_bits_per_byte"], color=color, linewidth=1.2, alpha=0.8)
    axes.plot(run.metrics[x].iloc[-1], run.row["bits_per_byte"], "o", color=color)


def write_comparison_page(path: str | Path, runs: Sequence[Run]) -> None:
    """Write the table, the figure of `draw` and the samples as one web page, the best run first."""
    ranked = sorted(runs, key=lambda run: run.row["bits_per_byte"])
    names = [name for name in COLUMNS if name != "settings"]
    baseline = {name.removesuffix("_bits_per_byte"): value for name, value in ranked[0].baseline.items()}
    write_page(
        path,
        "comparison.html",
        title=f"Comparison of {len(runs)} runs",
        header=[name.replace("_per_", "/").replace("_", " ") for name in names],
        rows=[[(run.name, run.row["settings"]), *_format(run.row, names[1:])] for run in ranked],
        baselines=", ".join(f"{name} {value:.3f}" for name, value in baseline.items()),
        different_texts=len({run.valid_bytes for run in runs}) > 1,
        pictures=[base64.b64encode(png(draw(runs, narrow))).decode() for narrow in (False, True)],
        samples=_group_samples(ranked),
    )


def _format(row: dict[str, Any], names: Sequence[str]) -> list[str]:
    return [FORMATS.get(name, "{:,.0f}".format)(row[name]) for name in names]


def _group_samples(runs: Sequence[Run]) -> dict[str, list[tuple[str, str]]]:
    """Map each prompt and setting to the (run, text) of all runs that have a sample of it."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for run in runs:
        for sample in run.samples:
            heading = f"{sample.title} · {sample.setting}, seed {sample.seed}"
            groups.setdefault(heading, []).append((run.name, sample.text))
    return groups
