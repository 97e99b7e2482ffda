"""Weights & Biases, if it is installed."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from minlm.errors import MinlmError


def require_wandb() -> None:
    """Raise `MinlmError` if the package is not installed."""
    if importlib.util.find_spec("wandb") is None:
        raise MinlmError("--log_to_wandb needs the package wandb. Install it with: pip install -e .[viz]")


@contextmanager
def wandb_logger(config: dict[str, Any]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that logs one row of the metrics to a W&B run of the project WANDB_PROJECT, or "minlm"."""
    import wandb

    with wandb.init(project=os.environ.get("WANDB_PROJECT", "minlm"), config=config) as run:

        def log_row(row: dict[str, Any]) -> None:
            values = {name: value for name, value in row.items() if value is not None and name != "timestamp"}
            run.log(values, step=row["iter"], commit=True)

        yield log_row
