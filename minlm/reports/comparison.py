"""Finished runs side by side: a table, a figure, and what they write for the same prompt and seed.

Runs that differ in nothing but the seed are one group: its figures are means, and their spread is the noise.
"""

import base64
import csv
import math
import statistics
from collections.abc import Sequence
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
from minlm.reports.plots import read_metrics, speeds
from minlm.training.evaluation import read_evaluation

COLUMNS = (
    "run", "bits_per_byte", "nats_per_token", "perplexity", "parameters", "tokens_seen", "steps", "seconds",
    "tokens_per_s", "settings", "group",
)  # fmt: skip
FORMATS = {  # of the page; the other columns are whole numbers
    "bits_per_byte": "{:.4f}", "nats_per_token": "{:.4f}", "perplexity": "{:.1f}", "seconds": "{:,.1f}",
}  # fmt: skip


@dataclass
class Run:
    """A finished run.

    Attributes:
        name: name of its folder.
        group: name of its group, the run's own if it is alone.
        row: its value for each of `COLUMNS`.
        metrics: the rows of its metrics.csv.
        samples: the texts of its samples.txt.
        valid_bytes: size of the validation text that its tokens stand for.
        baseline: bits per byte of the compressors on the same text.
    """

    name: str
    group: str
    row: dict[str, Any]
    metrics: pd.DataFrame
    samples: list[Sample]
    valid_bytes: int
    baseline: dict[str, float]


@dataclass
class Group:
    """Runs that differ in nothing but the seed, or a single run."""

    name: str
    runs: list["Run"]

    def values(self, column: str) -> list[float]:
        """The value of each run."""
        return [run.row[column] for run in self.runs]

    def mean(self, column: str = "bits_per_byte") -> float:
        """The mean over the runs."""
        return statistics.mean(self.values(column))

    def variance(self) -> float:
        """Sample variance of the bits per byte; 0 of a single run."""
        return statistics.variance(self.values("bits_per_byte")) if len(self.runs) > 1 else 0.0


def grouped(runs: Sequence["Run"]) -> list[Group]:
    """The groups, the one with the fewest bits per byte first."""
    names = dict.fromkeys(run.group for run in runs)
    groups = [Group(name, [run for run in runs if run.group == name]) for name in names]
    return sorted(groups, key=Group.mean)


def lead(groups: Sequence[Group]) -> tuple[float, float | None]:
    """By how many bits per byte the first of several groups leads, and the standard error of that.

    The variance between seeds is taken to be the same in all groups (Student's pooled estimate); the error is None if
    no group has two runs.
    """
    gap = groups[1].mean() - groups[0].mean()
    freedom = sum(len(group.runs) - 1 for group in groups)
    if not freedom:
        return gap, None
    variance = sum((len(group.runs) - 1) * group.variance() for group in groups) / freedom
    return gap, math.sqrt(variance * sum(1 / len(group.runs) for group in groups[:2]))


def verdict(groups: Sequence[Group]) -> tuple[str, Group | None]:
    """What the figures of groups in order allow to say, and the group that is the best, if one is.

    It is if it leads by more than twice the standard error. Of several validation texts, the one of most groups counts.
    """
    texts = [group.runs[0].valid_bytes for group in groups]
    most = max(texts, key=texts.count)
    rivals = [group for group, text in zip(groups, texts, strict=True) if text == most]
    first = f"{rivals[0].name} has the fewest bits/byte, {rivals[0].mean():.4f}"
    if len(rivals) < len(groups):
        first = f"Of {len(rivals)} runs with the same text, {first}"
    if len(rivals) == 1:
        return first, rivals[0] if len(groups) == 1 else None
    gap, error = lead(rivals)
    first += f", {gap:.4f} fewer than {rivals[1].name}"
    if error is None:
        return f"{first}; with `seeds: [0, 1, 2]`, an experiment shows whether that is more than noise", None
    is_best = gap > 2 * error
    words = "more than twice" if is_best else "not clear of"
    return f"{first}, which is {words} the standard error of the difference, {error:.4f}", rivals[
        0
    ] if is_best else None


def read_run(folder: str | Path, settings: str = "", group: str = "") -> Run:
    """Read a run's evaluation.json, metrics.csv and samples.txt.

    Args:
        folder: holds the three files; its name becomes the run's.
        settings: how the run differs from the others, in words.
        group: name of the group, the run's own by default.

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
        "tokens_per_s": float(speeds(metrics)["tokens_per_s"].median()),
        "settings": settings,
        "group": group or folder.name,
    }
    samples = read_samples(folder / "samples.txt")
    return Run(folder.name, row["group"], row, metrics, samples, evaluation["bytes"], evaluation["baseline"])


def write_table(path: str | Path, runs: Sequence[Run]) -> None:
    """Write the rows of all runs as CSV."""
    with atomic_write(path) as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(run.row for run in runs)


def draw(runs: Sequence[Run], narrow: bool = False) -> Figure:
    """Draw validation bits per byte against parameters, tokens and time, side by side or, if `narrow`, stacked.

    A group is the line of its mean in the band between its runs.
    """
    groups = grouped(runs)
    columns = 1 if narrow else 3
    legend_height = 0.22 * math.ceil(len(groups) / columns)
    shape = {"figsize": (4.4, 9 + legend_height)} if narrow else {"figsize": (12, 4 + legend_height)}
    figure, (size, tokens, time) = plt.subplots(3 // columns, columns, sharey=True, layout="constrained", **shape)
    colors = plt.get_cmap("tab10" if len(groups) <= 10 else "viridis")
    for index, group in enumerate(groups):
        color = colors(index if len(groups) <= 10 else index / len(groups))
        finals = group.values("bits_per_byte")
        size.plot(group.values("parameters"), finals, "o", color=color, label=group.name)
        _draw_curve(tokens, group, "tokens_seen", color)
        _draw_curve(time, group, "elapsed_s", color)
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


def _draw_curve(axes: Axes, group: Group, x: str, color: Any) -> None:
    """Draw bits per byte during training, and a dot for each finished model."""
    name = "val_bits_per_byte"
    curves = [
        run.metrics.dropna(subset=[name]).set_index("iter")[[x, name]] for run in group.runs if name in run.metrics
    ]
    if curves:
        by_step = pd.concat(curves).groupby(level=0)
        mean, low, high = by_step.mean(), by_step.min(), by_step.max()
        axes.plot(mean[x], mean[name], color=color, linewidth=1.2, alpha=0.8)
        if len(curves) > 1:
            axes.fill_between(mean[x], low[name], high[name], color=color, alpha=0.25, linewidth=0)
    for run in group.runs:
        axes.plot(run.metrics[x].iloc[-1], run.row["bits_per_byte"], "o", color=color)


def write_comparison_page(path: str | Path, runs: Sequence[Run], transfers: Sequence[Sequence[str]] = ()) -> None:
    """Write the table, the figure of `draw` and the samples as one web page, the best group first.

    Args:
        path: file to write.
        runs: of all groups.
        transfers: rows about runs that started from another with another text, see `transfer`.
    """
    groups = grouped(runs)
    sentence, best = verdict(groups)
    names = [name for name in COLUMNS if name not in ("settings", "group")]
    baseline = {name.removesuffix("_bits_per_byte"): value for name, value in groups[0].runs[0].baseline.items()}
    write_page(
        path,
        "comparison.html",
        title=f"Comparison of {len(runs)} runs",
        verdict=sentence,
        best=None if best is None else groups.index(best),
        header=[name.replace("_per_", "/").replace("_", " ") for name in names],
        rows=[[(_title(group), group.runs[0].row["settings"]), *_format(group, names[1:])] for group in groups],
        baselines=", ".join(f"{name} {value:.3f}" for name, value in baseline.items()),
        different_texts=len({run.valid_bytes for run in runs}) > 1,
        transfer_header=("run", "started from", "own text: before", "after", "other text: before", "after"),
        transfers=transfers,
        pictures=[base64.b64encode(png(draw(runs, narrow))).decode() for narrow in (False, True)],
        samples=_group_samples([group.runs[0] for group in groups]),
    )


def transfer(run: str | Path, parent: str | Path) -> list[str]:
    """Bits per byte of a run and of the one it started from, each on the text of both: what was gained and forgotten.

    Args:
        run: folder of the run, with its evaluation.json, and the one on the parent's text in on/PARENT.json.
        parent: folder of the other run, likewise.

    Raises:
        MinlmError: a file is missing or damaged.
    """
    run, parent = Path(run), Path(parent)
    files = (
        parent / "on" / f"{run.name}.json", run / "evaluation.json", parent / "evaluation.json",
        run / "on" / f"{parent.name}.json",
    )  # fmt: skip
    return [run.name, parent.name, *(f"{read_evaluation(file)['bits_per_byte']:.4f}" for file in files)]


def _title(group: Group) -> str:
    return group.name if len(group.runs) == 1 else f"{group.name} ({len(group.runs)} seeds)"


def _format(group: Group, names: Sequence[str]) -> list[str]:
    cells = [FORMATS.get(name, "{:,.0f}").format(group.mean(name)) for name in names]
    if len(group.runs) > 1:
        cells[names.index("bits_per_byte")] += f" ± {math.sqrt(group.variance()):.4f}"
    return cells


def _group_samples(runs: Sequence[Run]) -> dict[str, list[tuple[str, str]]]:
    """Map each prompt and setting to the (run, text) of all runs that have a sample of it."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for run in runs:
        for sample in run.samples:
            heading = f"{sample.title} · {sample.setting}, seed {sample.seed}"
            groups.setdefault(heading, []).append((run.name, sample.text))
    return groups
