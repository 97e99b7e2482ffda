"""The state of an unfinished training run: a folder beside the model that is to be.

It lives outside the declared outputs of the rule, because Snakemake deletes those of a job that failed. The state is
stamped with a fingerprint of everything the run depends on, so that a run only ever continues itself.
"""

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from minlm.atomic import sha256, temporaries
from minlm.errors import DamagedFileError, MinlmError
from minlm.locks import open_locked
from minlm.progress import log
from minlm.reading import reading
from minlm.transformer.checkpoint import load_tensors, save_tensors

STATE_FORMAT = 2  # another one is another run: it starts fresh


def run_fingerprint(
    train_tokens: Sequence[str | Path], valid_tokens: Sequence[str | Path], settings: dict[str, Any]
) -> str:
    """SHA-256 of the contents of the token files and of all settings that the result depends on."""
    stated = json.dumps({**settings, "format": STATE_FORMAT}, sort_keys=True)
    return hashlib.sha256(f"{sha256(*train_tokens)} {sha256(*valid_tokens)} {stated}".encode()).hexdigest()


class RunState:
    """The folder of an unfinished run, locked from the start of a `with` block to its end.

    Args:
        folder: made if it is not there; holds `checkpoint.pt`, `lock` and, to look at, `metrics.csv`. The files are
            removed at the end of the run, nothing else is.
        fingerprint: of this run, see `run_fingerprint`.
        wait: for another trainer that works on the same state to end, instead of raising an error.

    Raises:
        MinlmError: another trainer works on the same state, or the folder holds something else.
    """

    def __init__(self, folder: str | Path, fingerprint: str, wait: bool = False):
        self.folder = Path(folder)
        self.fingerprint = fingerprint
        self.checkpoint = self.folder / "checkpoint.pt"
        self.metrics = self.folder / "metrics.csv"
        self.lock = self.folder / "lock"
        self.wait_for_lock = wait
        self._saver = ThreadPoolExecutor(1)
        self._saving: Future[None] | None = None

    def __enter__(self) -> "RunState":
        try:
            self._refuse_foreign_files()
            self._handle = open_locked(self.lock, "a", busy=self._busy(), wait=self.wait_for_lock)
            self._handle.truncate(0)
            self._handle.write(f"process {os.getpid()} on {platform.node()}")
            self._handle.flush()
        except OSError as error:
            raise MinlmError(
                f"cannot keep the state of the run in {self.folder}/: {error.strerror}. "
                "Give a --state_dir that can be written."
            ) from error
        return self

    def _busy(self) -> str:
        who = self.lock.read_text(errors="replace") if self.lock.exists() else ""
        who = f" ({who})" if who else ""
        return f"another trainer is at work on {self.folder}/{who}. Wait for it to end, or stop it."

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.wait()
        finally:
            self._saver.shutdown()
            if not self.checkpoint.exists():  # nothing to go on from
                self._remove_own_files()
            self._handle.close()

    def _refuse_foreign_files(self) -> None:
        names = set(os.listdir(self.folder)) if self.folder.exists() else set()
        if names and self.lock.name not in names:
            raise MinlmError(
                f"{self.folder}/ is no state of a run: it holds {min(names)}. Give a --state_dir that is empty or new."
            )

    def _remove_own_files(self) -> None:
        for path in (self.checkpoint, self.metrics):
            path.unlink(missing_ok=True)
            for unfinished in temporaries(path):  # of killed processes, on other machines too: the lock is ours
                unfinished.unlink(missing_ok=True)
        self.lock.unlink(missing_ok=True)  # last: it is what tells our folder from others
        with suppress(OSError):  # something else is in it
            self.folder.rmdir()

    def load(self) -> dict[str, Any] | None:
        """The state to continue from, or None to start fresh; says which in one line."""
        if not self.checkpoint.exists():
            return None
        try:
            state = self.read(self.checkpoint)
        except DamagedFileError as error:
            self.set_aside(error.reason)
            return None
        except MinlmError as error:
            log.info(f"starting fresh: {error}")
            return None
        log.info(f"continuing an interrupted run at step {state['iteration']:,} ({self.checkpoint})")
        return state

    def set_aside(self, reason: str) -> None:
        """Make way for a new state: keep the damaged one beside the folder, and say so."""
        kept = self.folder.with_name(f"{self.folder.name}.damaged")
        os.replace(self.checkpoint, kept)
        log.info(f"starting over: {self.checkpoint} is damaged ({reason}); it is kept as {kept}")

    def read(self, path: str | Path) -> dict[str, Any]:
        """The state in `path`, a file or its folder.

        Raises:
            DamagedFileError: it is damaged, or no state of a run.
            MinlmError: it is missing, or of another run.
        """
        path = Path(path)
        if path.is_dir():
            path /= self.checkpoint.name
        state = load_tensors(path)
        with reading(path, "the state of a run", "Leave --resume out."):
            if state["fingerprint"] != self.fingerprint:
                raise MinlmError(f"{path} is the state of a run with other tokens or settings than this one.")
            int(state["iteration"])
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state, in the background; at every instant there is a whole one.

        The state is copied before this returns, so the training may go on.

        Raises:
            MinlmError: the save before this one failed.
        """
        self.wait()
        contents = _copy({"fingerprint": self.fingerprint, **state})
        self._saving = self._saver.submit(save_tensors, self.checkpoint, contents)

    def wait(self) -> None:
        """Until the last state is on the disk.

        Raises:
            MinlmError: it could not be written.
        """
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def saved(self) -> Path | None:
        """The file of the last saved state, if there is one."""
        self.wait()
        return self.checkpoint if self.checkpoint.exists() else None

    def finish(self) -> None:
        """The results are written: there is nothing to continue. The folder goes at the end of the block."""
        self.wait()
        self.checkpoint.unlink(missing_ok=True)


def _copy(value: Any) -> Any:
    """A copy on the CPU of nested dicts and lists of tensors and plain values."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
