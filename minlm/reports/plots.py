"""The training curves of a run: loss against steps and time, and speed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from minlm.errors import MinlmError
from minlm.reading import reading
from minlm.reports.figures import save_figure, style_axes
from minlm.training.metrics import Row

NONNEGATIVE = ("iter", "elapsed_s", "tokens_seen", "tokens_per_s")
REQUIRED = (*NONNEGATIVE, "train_loss", "val_loss")  # a validation loss may be missing
MANY = 60  # points, which are drawn as a line only
TRAIN, VALID, SPEED = "#8aa4c8", "#c44e52", "#4c72b0"  # they differ in lightness too


def read_metrics(path: str | Path) -> pd.DataFrame:
    """Read the rows of a metrics.csv.

    Raises:
        MinlmError: the file is missing, damaged, or has no rows.
    """
    with reading(path, "a table of metrics", f"`nlm-train --log_csv {path}` writes one."):
        table = pd.read_csv(path)
    if missing := [name for name in REQUIRED if name not in table]:
        raise MinlmError(f"{path} lacks the column(s) {', '.join(missing)}: it is not a metrics.csv of minlm.")
    if table.empty:
        raise MinlmError(f"{path} has no rows: the training wrote no metrics.")
    numeric = [name for name in (*REQUIRED, "val_bits_per_byte") if name in table]
    if wrong := [name for name in numeric if not pd.api.types.is_numeric_dtype(table[name])]:
        raise MinlmError(f"{path}: the column {wrong[0]} holds something that is not a number.")
    if wrong := [name for name in NONNEGATIVE if not table[name].between(0, 2**53).all()]:
        raise MinlmError(f"{path}: the column {wrong[0]} holds something that is neither a count nor a time.")
    return table


def draw_plots(metrics: pd.DataFrame | Sequence[Row], folder: str | Path) -> list[Path]:
    """Write loss_vs_iter.png, loss_vs_time.png and speed_vs_iter.png to a folder; return their paths."""
    table = metrics if isinstance(metrics, pd.DataFrame) else pd.DataFrame(list(metrics))
    seconds = table["elapsed_s"]
    unit = "seconds" if seconds.iloc[-1] < 180 else "minutes" if seconds.iloc[-1] < 180 * 60 else "hours"
    timed = table.assign(time=seconds / {"seconds": 1, "minutes": 60, "hours": 3600}[unit])
    return [
        _draw(folder, "loss_vs_iter", lambda axes: _losses(axes, table, "iter", "step")),
        _draw(folder, "loss_vs_time", lambda axes: _losses(axes, timed, "time", f"time ({unit})")),
        _draw(folder, "speed_vs_iter", lambda axes: _speed(axes, table)),
    ]


def speeds(table: pd.DataFrame) -> pd.DataFrame:
    """The step of each validation (`iter`), and the tokens per second of training since the validation before."""
    seconds = (table["tokens_seen"].diff().fillna(table["tokens_seen"]) / table["tokens_per_s"].clip(lower=1)).cumsum()
    done = table.assign(seconds=seconds)[table["val_loss"].notna()]
    since = done[["tokens_seen", "seconds"]].diff().fillna(done[["tokens_seen", "seconds"]])
    return pd.DataFrame({"iter": done["iter"], "tokens_per_s": since["tokens_seen"] / since["seconds"]})


def _losses(axes: Axes, table: pd.DataFrame, x: str, label: str) -> None:
    axes.plot(
        table[x],
        table["train_loss"],
        color=TRAIN,
        linestyle="--" if len(table) < MANY else "-",
        linewidth=1,
        marker="." if len(table) < MANY else "",
        label="training (mean since the point before)",
    )
    validated = table[table["val_loss"].notna()]
    axes.plot(
        validated[x], validated["val_loss"], color=VALID, marker="o", markersize=4, label="validation (whole set)"
    )
    last = table.iloc[-1]
    axes.annotate(
        f"{last['val_loss']:.3f}", (last[x], last["val_loss"]), (6, 0), textcoords="offset points",
        ha="left", va="center", color=VALID,
    )  # fmt: skip  # to the right of the last point, where there is no curve
    axes.set_xlabel(label)
    axes.set_ylabel("loss (nats per token)")
    axes.set_title(f"Loss over {label.split(' ')[0] if x != 'iter' else 'training steps'}")
    axes.legend(frameon=False)
    axes.margins(y=0.12)


def _speed(axes: Axes, table: pd.DataFrame) -> None:
    table = speeds(table)  # a row lasts ten steps, too few to tell a speed
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
    style_axes(axes)
    save_figure(figure, path)
    return path
