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
    """The record of the training that writes the model `path` and the models `others`, all with different names.

    `fingerprint` is that of `state.run_fingerprint`.
    """

    def __init__(self, path: str | Path, fingerprint: str, others: Iterable[Path] = ()):
        self.path, self.fingerprint = Path(path), fingerprint
        self.folder = _folder(path)
        self.models = {MODEL: self.path, **{other.name: other for other in others}}

    def keep(self, rows: list[dict[str, Any]]) -> None:
        """Keep the finished model, with the rows of its metrics."""
        try:
            with atomic_folder(self.folder, (*self.models, RECORD)) as folder:
                for name, path in self.models.items():
                    _link(path, folder / name)
                record = {"rows": rows, "proof": self._proof(self.models.values(), rows)}
                (folder / RECORD).write_text(json.dumps(record))
        except (MinlmError, OSError) as error:  # not fatal: the training has succeeded
            log.warning(f"if snakemake is killed now, this training will be repeated: {error}")

    def restore(self, inputs: Iterable[str | Path]) -> list[dict[str, Any]] | None:
        """Restore the model and return the rows of its metrics; None if no record is newer than all `inputs`."""
        try:
            finished_at = (self.folder / RECORD).stat().st_mtime
            record = json.loads((self.folder / RECORD).read_text())
            if any(Path(path).stat().st_mtime > finished_at for path in inputs):
                return None
            if record["proof"] != self._proof((self.folder / name for name in self.models), record["rows"]):
                return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None  # missing or damaged
        for name, path in self.models.items():
            with atomic_path(path) as temporary:
                _link(self.folder / name, temporary)
            os.utime(path)  # newer than its inputs
        return record["rows"]

    def _proof(self, models: Iterable[Path], rows: list[dict[str, Any]]) -> str:
        """A hash of the run, its models and its metrics, which changes if any of them changes or is damaged."""
        return hashlib.sha256(f"{self.fingerprint} {sha256(*models)} {json.dumps(rows)}".encode()).hexdigest()


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
