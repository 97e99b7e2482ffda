"""metrics.csv: a row at step 1, 2, 4, 8, at each tenth step and for each validation."""

import csv
import itertools
import operator
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minlm.atomic import atomic_write

COLUMNS = (
    "timestamp", "iter", "lr", "train_loss", "val_loss", "elapsed_s", "tokens_seen", "tokens_per_s",
    "grad_norm", "val_bits_per_byte",
)  # fmt: skip

Row = dict[str, Any]


def now() -> str:
    """The current time in UTC, ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def loss_since_validation(rows: Sequence[Row]) -> float:
    """The mean training loss of the steps since the validation before the last one, or since the start."""
    before = next((index + 1 for index in reversed(range(len(rows) - 1)) if rows[index]["val_loss"] is not None), 0)
    steps = [row["iter"] for row in rows[before - 1 :]] if before else [0, *(row["iter"] for row in rows)]
    weights = [last - first for first, last in itertools.pairwise(steps)]
    losses = [row["train_loss"] for row in rows[before:]]
    return sum(map(operator.mul, losses, weights)) / sum(weights)


def write_metrics(path: str | Path, rows: Sequence[Row]) -> None:
    """Write all rows; losses in nats per token, times in seconds."""
    with atomic_write(path) as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
