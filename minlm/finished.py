"""What proves that a training of a workflow has finished, for as long as its snakemake may not have noticed.

Snakemake notes that a job is done after the job has ended. If it is killed before, the next call deletes what the job
made and runs it again. So the trainer keeps a second name of the model (a hard link) and the metrics in a folder
beside the model. A snakemake that ends by itself has noticed, and removes the folder.
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
    """The record of a finished training.

    Args:
        path: of the model.
        fingerprint: of the run, see `run_state.run_fingerprint`.
    """

    def __init__(self, path: str | Path, fingerprint: str):
        self.path, self.fingerprint = Path(path), fingerprint
        self.folder = _folder(path)

    def keep(self, rows: list[dict[str, Any]]) -> None:
        """Note that the model is written, with the rows of its metrics."""
        try:
            with atomic_folder(self.folder, (MODEL, RECORD)) as folder:
                _link(self.path, folder / MODEL)
                record = {"rows": rows, "proof": self._proof(self.path, rows)}
                (folder / RECORD).write_text(json.dumps(record))
        except (MinlmError, OSError) as error:  # the run itself is complete
            log.warning(f"if snakemake is killed now, this training will be repeated: {error}")

    def restore(self, inputs: Iterable[str | Path]) -> list[dict[str, Any]] | None:
        """Put the model back if this very training had finished, and no input was touched since; its rows, or None."""
        kept = self.folder / MODEL
        try:
            finished_at = (self.folder / RECORD).stat().st_mtime
            record = json.loads((self.folder / RECORD).read_text())
            if any(Path(path).stat().st_mtime > finished_at for path in inputs):
                return None
            if record["proof"] != self._proof(kept, record["rows"]):
                return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None  # there is none, or it is damaged
        with atomic_path(self.path) as temporary:
            _link(kept, temporary)
        os.utime(self.path)  # newer than its inputs
        return record["rows"]

    def _proof(self, model: Path, rows: list[dict[str, Any]]) -> str:
        return hashlib.sha256(f"{self.fingerprint} {sha256(model)} {json.dumps(rows)}".encode()).hexdigest()


def forget(models: Iterable[str]) -> None:
    """Remove the records of these models: snakemake knows that they are done."""
    for model in models:
        shutil.rmtree(_folder(model), ignore_errors=True)


def _folder(model: str | Path) -> Path:
    return Path(model).with_name(f".{Path(model).name}.finished")


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:  # some file systems have no links
        shutil.copyfile(old, new)
