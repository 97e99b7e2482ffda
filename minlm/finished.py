"""A record of a finished training, so that a killed Snakemake does not cause a second one.

Snakemake records a job as done a moment after the job has ended. If it is killed in between, its next call deletes the
job's outputs and runs the job again, which may cost days. So a training job keeps a hard link to the model, and the
metrics, in a folder beside the model, `.model.pt.finished`. When the same training starts again, it takes the model
from there. A Snakemake that ends normally removes the folder.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minlm.atomic import atomic_folder, atomic_path, sha256
from minlm.errors import MinlmError
from minlm.progress import log

MODEL, RECORD = "model.pt", "record.json"


class FinishedRun:
    """The record of the training that writes the model `path`; `fingerprint` is that of `state.run_fingerprint`."""

    def __init__(self, path: str | Path, fingerprint: str):
        self.path, self.fingerprint = Path(path), fingerprint
        self.folder = _folder(path)

    def keep(self, rows: list[dict[str, Any]]) -> None:
        """Keep the finished model, with the rows of its metrics."""
        try:
            with atomic_folder(self.folder, (MODEL, RECORD)) as folder:
                _link(self.path, folder / MODEL)
                record = {"rows": rows, "proof": self._proof(self.path, rows)}
                (folder / RECORD).write_text(json.dumps(record))
        except (MinlmError, OSError) as error:  # not fatal: the training has succeeded
            log.warning(f"if snakemake is killed now, this training will be repeated: {error}")

    def restore(self, inputs: Iterable[str | Path]) -> list[dict[str, Any]] | None:
        """Restore the model and return the rows of its metrics; None if no record is newer than all `inputs`."""
        kept = self.folder / MODEL
        try:
            finished_at = (self.folder / RECORD).stat().st_mtime
            record = json.loads((self.folder / RECORD).read_text())
            if any(Path(path).stat().st_mtime > finished_at for path in inputs):
                return None
            if record["proof"] != self._proof(kept, record["rows"]):
                return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None  # missing or damaged
        with atomic_path(self.path) as temporary:
            _link(kept, temporary)
        os.utime(self.path)  # newer than its inputs
        return record["rows"]

    def _proof(self, model: Path, rows: list[dict[str, Any]]) -> str:
        """A hash of the run, its model and its metrics, which changes if any of them changes or is damaged."""
        return hashlib.sha256(f"{self.fingerprint} {sha256(model)} {json.dumps(rows)}".encode()).hexdigest()


def forget(models: Iterable[str]) -> None:
    """Remove the records of these models, because Snakemake has recorded them as done."""
    for model in models:
        shutil.rmtree(_folder(model), ignore_errors=True)


def _folder(model: str | Path) -> Path:
    return Path(model).with_name(f".{Path(model).name}.finished")


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:  # some file systems have no links
        shutil.copyfile(old, new)
