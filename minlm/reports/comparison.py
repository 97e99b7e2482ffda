"""Several finished runs beside each other: a table, a picture, and what they write for the same prompt and seed."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files, no windows

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from minlm.atomic import atomic_write
from minlm.generation.samples_file import Sample, read_samples
from minlm.reports import html as pages
from minlm.reports.plots import read_metrics
from minlm.training.evaluation import read_evaluation

COLUMNS = (
    "run", "bits_per_byte", "nats_per_token", "perplexity", "parameters", "tokens_seen", "steps", "seconds",
    "tokens_per_s", "settings",
)  # fmt: skip


@dataclass
class Run:
    """A finished run: `row` has the values of `COLUMNS`, `metrics` the rows of its metrics.csv."""

    name: str
    row: dict[str, Any]
    metrics: pd.DataFrame
    samples: list[Sample]
    valid_bytes: int
    baseline: dict[str, float]


def read_run(folder: str | Path, settings: str = "") -> Run:
    """A run from its evaluation.json, metrics.csv and samples.txt.

    Args:
        folder: where they lie; its name is the run's.
        settings: what is special about the run, in words.

    Raises:
        MinlmError: a file is missing or is not what it should be.
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
        "tokens_per_s": float(metrics["tokens_per_s"].median()),
        "settings": settings,
    }
    samples = read_samples(folder / "samples.txt")
    return Run(folder.name, row, metrics, samples, evaluation["bytes"], evaluation["baseline"])


def write_table(path: str | Path, runs: Sequence[Run]) -> None:
    """The rows of all runs as CSV."""
    with atomic_write(path) as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(run.row for run in runs)


def draw(path: str | Path, runs: Sequence[Run]) -> None:
    """Validation bits per byte against parameters, tokens and time, as a PNG."""
    height = 4.0 + 0.22 * ((len(runs) + 2) // 3)
    figure, (size, tokens, time) = plt.subplots(1, 3, figsize=(12, height), sharey=True, layout="constrained")
    colors = plt.get_cmap("tab10" if len(runs) <= 10 else "viridis")
    for index, run in enumerate(runs):
        color = colors(index if len(runs) <= 10 else index / len(runs))
        final = run.row["bits_per_byte"]
        size.plot(run.row["parameters"], final, "o", color=color, label=run.name)
        _curve(tokens, run, "tokens_seen", color)
        _curve(time, run, "elapsed_s", color)
    _finish(size, "parameters", "")
    _finish(tokens, "tokens seen", "")
    _finish(time, "training time", "s")
    size.set_ylabel("validation bits per byte")
    size.margins(x=0.15)
    figure.legend(*size.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    with atomic_write(path, "wb") as handle:
        figure.savefig(handle, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)


def _curve(axes: Axes, run: Run, x: str, color: Any) -> None:
    """Bits per byte on the way, and a dot for the finished model."""
    if "val_bits_per_byte" in run.metrics:
        axes.plot(run.metrics[x], run.metrics["val_bits_per_byte"], color=color, linewidth=1.2, alpha=0.8)
    axes.plot(run.metrics[x].iloc[-1], run.row["bits_per_byte"], "o", color=color)


def _finish(axes: Axes, label: str, unit: str) -> None:
    axes.set_xlabel(label)
    axes.xaxis.set_major_formatter(EngFormatter(unit))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def write_page(path: str | Path, runs: Sequence[Run], picture: str | Path) -> None:
    """The comparison as one web page: table, picture, samples side by side."""
    ranked = sorted(runs, key=lambda run: run.row["bits_per_byte"])
    formats: dict[str, Callable[[Any], str]] = {
        "run": str,
        "bits_per_byte": "{:.4f}".format,
        "nats_per_token": "{:.4f}".format,
        "perplexity": "{:.1f}".format,
        "seconds": "{:,.1f}".format,
        "settings": str,
    }
    names = ("run", "settings", *(name for name in COLUMNS if name not in ("run", "settings")))
    rows = [[formats.get(name, "{:,.0f}".format)(run.row[name]) for name in names] for run in ranked]
    header = [name.replace("_per_", " / ").replace("_", " ") for name in names]
    parts = [
        "<p>The best model is the one that spends the fewest bits on a byte of text it has not seen.</p>",
        pages.table(header, rows, words=("run", "settings"), best=0),
        *(f'<p class="note">{pages.text(note)}</p>' for note in _notes(ranked)),
        "<h2>Quality against size, data and time</h2>",
        pages.picture(picture, "validation bits per byte against parameters, tokens and training time"),
        "<h2>Samples side by side</h2>",
        '<p class="note">Each row has the same prompt, settings and seed.</p>',
        *_samples_side_by_side(ranked),
    ]
    with atomic_write(path) as handle:
        handle.write(pages.page(f"Comparison of {len(runs)} runs", *parts))


def _notes(runs: Sequence[Run]) -> list[str]:
    baselines = ", ".join(
        f"{name.removesuffix('_bits_per_byte')} {value:.3f}" for name, value in runs[0].baseline.items()
    )
    notes = [f"Compressors on the same text, bits / byte: {baselines}."]
    if len({run.valid_bytes for run in runs}) > 1:
        notes.append("The runs have different validation texts, so their figures compare only roughly.")
    return notes


def _samples_side_by_side(runs: Sequence[Run]) -> list[str]:
    """A heading for each prompt and setting, and a card for each run that has a sample of it."""
    cards: dict[str, list[str]] = {}
    for run in runs:
        for sample in run.samples:
            top_p = "none" if sample.setting.top_p is None else sample.setting.top_p
            title = f"“{sample.prompt}” · temperature {sample.setting.temperature}, top_p {top_p}, seed {sample.seed}"
            card = f'<div class="card"><b>{pages.text(run.name)}</b><p>{pages.text(sample.text)}</p></div>'
            cards.setdefault(title, []).append(card)
    return [f'<h3>{pages.text(title)}</h3>\n<div class="cards">{"".join(row)}</div>' for title, row in cards.items()]
