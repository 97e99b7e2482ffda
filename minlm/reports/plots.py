"""The training curves as pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # files, no windows

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from minlm.atomic import atomic_write
from minlm.errors import MinlmError
from minlm.reading import reading
from minlm.training.metrics import Row

NEEDED = ("iter", "train_loss", "val_loss", "elapsed_s", "tokens_seen", "tokens_per_s")
COUNTED = ("iter", "elapsed_s", "tokens_seen", "tokens_per_s")
TRAIN, VALID, SPEED = "#8aa4c8", "#c44e52", "#4c72b0"  # told apart by lightness too


def read_metrics(path: str | Path) -> pd.DataFrame:
    """The rows of a metrics.csv.

    Raises:
        MinlmError: the file is missing, empty or not a metrics.csv.
    """
    with reading(path, "a table of metrics", f"`nlm-train --log_csv {path}` writes one."):
        table = pd.read_csv(path)
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise MinlmError(f"{path} lacks the column(s) {', '.join(missing)}: it is not a metrics.csv of minlm.")
    numeric = [name for name in (*NEEDED, "val_bits_per_byte") if name in table]
    if table.empty:
        raise MinlmError(f"{path} has no rows: the training wrote no metrics.")
    if words := [name for name in numeric if not pd.api.types.is_numeric_dtype(table[name])]:
        raise MinlmError(f"{path}: the column {words[0]} holds something that is not a number.")
    if odd := [name for name in COUNTED if not table[name].between(0, 2**53).all()]:  # a loss may be NaN
        raise MinlmError(f"{path}: the column {odd[0]} holds something that is no count or time.")
    return table


def draw_plots(metrics: pd.DataFrame | Sequence[Row], folder: str | Path) -> list[Path]:
    """Write loss_vs_iter.png, loss_vs_time.png and speed_vs_iter.png; their paths."""
    table = metrics if isinstance(metrics, pd.DataFrame) else pd.DataFrame(list(metrics))
    seconds = table["elapsed_s"]
    unit = "seconds" if seconds.iloc[-1] < 180 else "minutes" if seconds.iloc[-1] < 180 * 60 else "hours"
    timed = table.assign(time=seconds / {"seconds": 1, "minutes": 60, "hours": 3600}[unit])
    return [
        _draw(folder, "loss_vs_iter", lambda axes: _losses(axes, table, "iter", "step")),
        _draw(folder, "loss_vs_time", lambda axes: _losses(axes, timed, "time", f"time ({unit})")),
        _draw(folder, "speed_vs_iter", lambda axes: _speed(axes, table)),
    ]


def _losses(axes: Axes, table: pd.DataFrame, x: str, label: str) -> None:
    axes.plot(
        table[x],
        table["train_loss"],
        color=TRAIN,
        linestyle="--",
        marker=".",
        label="training (mean since the last point)",
    )
    axes.plot(table[x], table["val_loss"], color=VALID, marker="o", markersize=4, label="validation (whole set)")
    last = table.iloc[-1]  # its loss stands behind it, where no curve is
    axes.annotate(
        f"{last['val_loss']:.3f}", (last[x], last["val_loss"]), (6, 0), textcoords="offset points",
        ha="left", va="center", color=VALID,
    )  # fmt: skip
    axes.set_xlabel(label)
    axes.set_ylabel("loss (nats per token)")
    axes.set_title(f"Loss over {label.split(' ')[0] if x != 'iter' else 'training steps'}")
    axes.legend(frameon=False)
    axes.margins(y=0.12)


def _speed(axes: Axes, table: pd.DataFrame) -> None:
    axes.plot(table["iter"], table["tokens_per_s"], color=SPEED, marker="o", markersize=4)
    axes.set_ylim(0, table["tokens_per_s"].max() * 1.15)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("step")
    axes.set_ylabel("tokens per second")
    axes.set_title("Training speed (validation not counted)")


def _draw(folder: str | Path, name: str, draw: Callable[[Axes], None]) -> Path:
    path = Path(folder) / f"{name}.png"
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    draw(axes)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(path, "wb") as handle:
        figure.savefig(handle, format="png", dpi=130, metadata={"Software": None})  # the same curve, the same bytes
    plt.close(figure)
    return path
