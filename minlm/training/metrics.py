"""metrics.csv: a row for each validation, and before the first one a row without validation at step 1, 2, 4, 8, …"""

import csv
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


def write_metrics(path: str | Path, rows: Sequence[Row]) -> None:
    """Write all rows; losses in nats per token, times in seconds."""
    with atomic_write(path) as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
