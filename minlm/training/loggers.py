"""Other places that follow a training besides metrics.csv: TensorBoard, trackio, Weights & Biases.

Each is a context manager that takes the path of the model and the run's settings, and yields a function that logs one
row of the metrics. A continued run sends the rows of the interrupted one again.
"""

import glob
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from minlm.errors import MinlmError, require
from minlm.progress import log
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
def _tensorboard(model: Path, config: dict[str, Any]) -> Iterator[LogRow]:
    """Write events to `tensorboard/` beside the model, in place of those of an earlier run with this model's name."""
    from torch.utils.tensorboard import SummaryWriter

    suffix = f".{model.stem}{OURS}"
    for old in model.parent.glob(f"tensorboard/events.out.tfevents.*{glob.escape(suffix)}"):
        old.unlink()
    with SummaryWriter(model.parent / "tensorboard", filename_suffix=suffix) as writer:
        writer.add_text("settings", "\n".join(f"    {name}: {value}" for name, value in config.items()))

        def log_row(row: Row) -> None:
            time = datetime.fromisoformat(row["timestamp"]).timestamp()
            for name, value in _values(row).items():
                writer.add_scalar(name, value, row["iter"], time)
            writer.flush()

        yield log_row


@contextmanager
def _trackio(model: Path, config: dict[str, Any]) -> Iterator[LogRow]:
    """Log to a run of the project TRACKIO_PROJECT, or "minlm", in trackio's own folder."""
    import trackio

    run = trackio.init(project=os.environ.get("TRACKIO_PROJECT", "minlm"), config=config)
    try:
        yield lambda row: run.log(_values(row), step=row["iter"])
    finally:
        run.finish()


@contextmanager
def _wandb(model: Path, config: dict[str, Any]) -> Iterator[LogRow]:
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


@contextmanager
def logger(name: str, model: Path, config: dict[str, Any]) -> Iterator[LogRow]:
    """One of `LOGGERS`. If it fails later, it is dropped with a warning: the training is worth more.

    Raises:
        MinlmError: it cannot begin, for example without an account.
    """
    with ExitStack() as stack:
        try:
            log_row = stack.enter_context(LOGGERS[name](model, config))
        except Exception as error:  # each package has errors of its own
            raise MinlmError(f"--log_to {name}: {error or type(error).__name__}") from error
        failed = False

        def log_if_possible(row: Row) -> None:
            nonlocal failed
            if not failed:
                try:
                    log_row(row)
                except Exception as error:
                    failed = True
                    log.warning(f"warning: going on without {name}, which does not work any more ({error})")

        yield log_if_possible
