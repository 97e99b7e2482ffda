"""The state of an unfinished training run: a folder beside the model that is to be.

It lives outside the declared outputs of the rule, because Snakemake deletes those of a job that failed. The state is
stamped with a fingerprint of everything the run depends on, so that a run only ever continues itself.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from minlm.errors import MinlmError
from minlm.files import sha256
from minlm.progress import log
from minlm.transformer.checkpoint import load_tensors, save_tensors


def run_fingerprint(
    train_tokens: Sequence[str | Path], valid_tokens: Sequence[str | Path], settings: dict[str, Any]
) -> str:
    """SHA-256 of the contents of the token files and of all settings that the result depends on."""
    stated = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(f"{sha256(*train_tokens)} {sha256(*valid_tokens)} {stated}".encode()).hexdigest()


class RunState:
    """The folder of an unfinished run, locked from the start of a `with` block to its end.

    Args:
        folder: made if it is not there; holds `checkpoint.pt` and, to look at, `metrics.csv`.
        fingerprint: of this run, see `run_fingerprint`.

    Raises:
        MinlmError: another trainer works on the same state.
    """

    def __init__(self, folder: str | Path, fingerprint: str):
        self.folder = Path(folder)
        self.fingerprint = fingerprint
        self.checkpoint = self.folder / "checkpoint.pt"
        self.metrics = self.folder / "metrics.csv"

    def __enter__(self) -> "RunState":
        path = self.folder / "lock"
        while True:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._lock = open(path, "w")  # held until the block ends
            except OSError as error:
                raise MinlmError(
                    f"cannot keep the state of the run in {self.folder}/: {error.strerror}. "
                    "Give a --state_dir that can be written."
                ) from error
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.close()
                raise MinlmError(
                    f"another trainer is at work on {self.folder}/. Wait for it to end, or stop it."
                ) from None
            if path.exists() and os.path.samestat(path.stat(), os.fstat(self._lock.fileno())):
                return self
            self._lock.close()  # a trainer that just finished has removed this very file: once more

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self.checkpoint.exists():
            shutil.rmtree(self.folder, ignore_errors=True)  # nothing to go on from
        self._lock.close()

    def load(self) -> dict[str, Any] | None:
        """The state to continue from, or None to start fresh; says which in one line."""
        if not self.checkpoint.exists():
            return None
        try:
            state = self.read(self.checkpoint)
        except MinlmError as error:
            log.info(f"starting fresh: {error}")
            return None
        log.info(f"continuing an interrupted run at step {state['iteration']:,} ({self.checkpoint})")
        return state

    def read(self, path: str | Path) -> dict[str, Any]:
        """The state in `path`.

        Raises:
            MinlmError: it is missing, damaged or of another run.
        """
        state = load_tensors(path)
        if not isinstance(state, dict) or state.get("fingerprint") != self.fingerprint:
            raise MinlmError(f"{path} is the state of a run with other tokens or settings than this one.")
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state; at every instant there is a whole one."""
        save_tensors(self.checkpoint, {"fingerprint": self.fingerprint, **state})

    def remove(self) -> None:
        """The run is finished."""
        shutil.rmtree(self.folder)
