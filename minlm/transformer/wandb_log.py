"""Weights & Biases, for those who installed it."""

import importlib.util
from collections.abc import Callable
from typing import Any

from minlm.errors import MinlmError


def require_wandb() -> None:
    """Say before any work begins that the package is missing.

    Raises:
        MinlmError: it is.
    """
    if importlib.util.find_spec("wandb") is None:
        raise MinlmError("--log_to_wandb needs the package wandb. Install it with: pip install -e .[viz]")


def wandb_logger(config: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Start a W&B run (project "minlm") and return a function that logs one row of the metrics to it."""
    import wandb

    run = wandb.init(project="minlm", config=config)

    def log_row(row: dict[str, Any]) -> None:
        run.log(
            {name: value for name, value in row.items() if value is not None and name != "timestamp"}, step=row["iter"]
        )

    return log_row
