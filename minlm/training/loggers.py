"""Other places that follow a training besides metrics.csv: TensorBoard, trackio, Weights & Biases.

Each is a context manager that takes the folder of the model and the run's settings, and yields a function that logs one
row of the metrics. A continued run sends the rows of the interrupted one again.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from minlm.errors import require
from minlm.training.metrics import Row

LogRow = Callable[[Row], None]
PACKAGES = {"tensorboard": "minlm[viz]", "wandb": "minlm[viz]", "trackio": "trackio"}  # what pip installs for each
OURS = ".minlm"  # ends the names of our event files


def require_loggers(names: list[str]) -> None:
    """Check that the packages of these loggers are installed.

    Raises:
        MinlmError: one is missing; the message says how to install it.
    """
    for name in names:
        require(name, PACKAGES[name], f"--log_to {name}")


@contextmanager
def _tensorboard(folder: Path, config: dict[str, Any]) -> Iterator[LogRow]:
    """Write events to `tensorboard/` in the folder, in place of those of an earlier run with this model's name."""
    from torch.utils.tensorboard import SummaryWriter

    for old in folder.glob(f"tensorboard/events.out.tfevents.*{OURS}"):
        old.unlink()
    with SummaryWriter(folder / "tensorboard", filename_suffix=OURS) as writer:
        writer.add_text("settings", "\n".join(f"    {name}: {value}" for name, value in config.items()))

        def log_row(row: Row) -> None:
            time = datetime.fromisoformat(row["timestamp"]).timestamp()
            for name, value in _values(row).items():
                writer.add_scalar(name, value, row["iter"], time)
            writer.flush()

        yield log_row


@contextmanager
def _trackio(folder: Path, config: dict[str, Any]) -> Iterator[LogRow]:
    """Log to a run of the project TRACKIO_PROJECT, or "minlm", in trackio's own folder."""
    import trackio

    run = trackio.init(project=os.environ.get("TRACKIO_PROJECT", "minlm"), config=config)
    try:
        yield lambda row: run.log(_values(row), step=row["iter"])
    finally:
        run.finish()


@contextmanager
def _wandb(folder: Path, config: dict[str, Any]) -> Iterator[LogRow]:
    """Log to a W&B run of the project WANDB_PROJECT, or "minlm"."""
    import wandb

    with wandb.init(project=os.environ.get("WANDB_PROJECT", "minlm"), config=config) as run:
        yield lambda row: run.log({"iter": row["iter"], **_values(row)}, step=row["iter"], commit=True)


def _values(row: Row) -> dict[str, float]:
    return {name: value for name, value in row.items() if value is not None and name not in ("timestamp", "iter")}


LOGGERS: dict[str, Callable[[Path, dict[str, Any]], AbstractContextManager[LogRow]]] = {
    "tensorboard": _tensorboard,
    "trackio": _trackio,
    "wandb": _wandb,
}
