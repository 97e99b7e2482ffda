"""The state of an unfinished training run: a folder beside the future model.

It is not an output of the rule, because Snakemake deletes the outputs of a failed job. It has a fingerprint of
everything that the run depends on, so that no other run continues from it.
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

from minlm.atomic import atomic_path, temporaries
from minlm.bulk.token_file import token_record
from minlm.errors import DamagedFileError, MinlmError
from minlm.locks import open_locked
from minlm.progress import log
from minlm.reading import reading
from minlm.transformer.checkpoint import load_tensors, save_tensors

STATE_FORMAT = 2  # a state of another format is not continued


def run_fingerprint(
    train_tokens: Sequence[str | Path], valid_tokens: Sequence[str | Path], settings: dict[str, Any]
) -> str:
    """SHA-256 of those of the token files and of all settings that the result depends on."""
    stated = json.dumps({**settings, "format": STATE_FORMAT}, sort_keys=True)
    train, valid = ("+".join(token_record(path)["sha256"] for path in paths) for paths in (train_tokens, valid_tokens))
    return hashlib.sha256(f"{train} {valid} {stated}".encode()).hexdigest()


class RunState:
    """The folder of an unfinished run, locked while its `with` block runs.

    Args:
        folder: created if it is missing. It holds `checkpoint.pt`, `lock`, the models to keep and, for people,
            `metrics.csv`; other files are never removed.
        fingerprint: of this run, see `run_fingerprint`.
        wait: wait for another trainer that uses the folder instead of raising an error.
        constant: of a run whose learning rate is constant for a while: a fingerprint of everything but its length, and
            the step at which that phase ends. Up to there, runs of any length are the same.

    Raises:
        MinlmError: another trainer uses the folder, or it belongs to something else.
    """

    def __init__(
        self, folder: str | Path, fingerprint: str, wait: bool = False, constant: tuple[str, int] | None = None
    ):
        self.folder = Path(folder)
        self.fingerprint, self.constant = fingerprint, constant
        self.end_of_constant = self.folder.with_name(f"{self.folder.name.removesuffix('.in_progress')}.constant.pt")
        self.checkpoint = self.folder / "checkpoint.pt"
        self.metrics = self.folder / "metrics.csv"
        self.lock = self.folder / "lock"
        self.wait_for_lock = wait
        self._saver = ThreadPoolExecutor(1)
        self._saving: Future[None] | None = None

    def __enter__(self) -> "RunState":
        try:
            names = set(os.listdir(self.folder)) if self.folder.exists() else set()
            if names and self.lock.name not in names:
                raise MinlmError(
                    f"{self.folder}/ does not hold the state of a run but {min(names)}. "
                    "Give an empty or new --state_dir."
                )
            holder = f" ({self.lock.read_text(errors='replace')})" if self.lock.exists() else ""
            busy = f"another trainer is using {self.folder}/{holder}. Wait for it to end, or stop it."
            self._handle = open_locked(self.lock, "a", busy=busy, wait=self.wait_for_lock)
            self._handle.truncate(0)
            self._handle.write(f"process {os.getpid()} on {platform.node()}")
            self._handle.flush()
        except OSError as error:
            raise MinlmError(
                f"cannot save the state of the run in {self.folder}/: {error.strerror}. Give a writable --state_dir."
            ) from error
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.wait()
        finally:
            self._saver.shutdown()
            if not self.checkpoint.exists():  # nothing to continue
                self._remove_own_files()
            self._handle.close()

    def _remove_own_files(self) -> None:
        for path in (self.checkpoint, self.metrics, *self.folder.glob("kept-*.pt")):
            path.unlink(missing_ok=True)
            for unfinished in temporaries(path):  # left by killed processes, as nobody else has the lock
                unfinished.unlink(missing_ok=True)
        self.lock.unlink(missing_ok=True)  # last: it marks the folder as ours
        with suppress(OSError):  # it holds something else
            self.folder.rmdir()

    def load(self) -> dict[str, Any] | None:
        """Return the state to continue from, or None to start fresh; log which."""
        if self.checkpoint.exists():
            try:
                state = self.read(self.checkpoint)
                log.info(f"continuing an interrupted run at step {state['iteration']:,} ({self.checkpoint})")
                return state
            except DamagedFileError as error:
                self.set_aside(error.reason)
            except MinlmError as error:
                kept = self._move_away("abandoned")
                log.info(f"starting fresh: {error} It is kept as {kept}")
        if self.constant is not None and self.end_of_constant.exists():
            try:
                state = self.read(self.end_of_constant)
                log.info(f"continuing a shorter run at step {state['iteration']:,} ({self.end_of_constant})")
                return state
            except MinlmError as error:
                log.info(f"starting fresh: {error}")
        return None

    def set_aside(self, reason: str) -> None:
        """Move a damaged state out of the folder, beside it, and log that."""
        log.info(f"starting over: {self.checkpoint} is damaged ({reason}). It is kept as {self._move_away('damaged')}")

    def _move_away(self, why: str) -> Path:
        kept = self.folder.with_name(f"{self.folder.name}.{why}")
        os.replace(self.checkpoint, kept)
        return kept

    def read(self, path: str | Path) -> dict[str, Any]:
        """Read the state in `path`, a file or the folder of a run.

        Raises:
            DamagedFileError: it is damaged, or not a state.
            MinlmError: it is missing, or belongs to another run.
        """
        path = Path(path)
        if path.is_dir():
            path /= self.checkpoint.name
        state = load_tensors(path)
        with reading(path, "the state of a run", "Leave --resume out."):
            if state["fingerprint"] != self.fingerprint and not self._same_so_far(state):
                raise MinlmError(f"{path} is the state of a run with other tokens or settings than this one.")
            int(state["iteration"])
        return state

    def _same_so_far(self, state: dict[str, Any]) -> bool:
        """Whether a state is of a run that differs from this one only in its length, and not yet."""
        if self.constant is None or not state.get("constant"):
            return False
        (fingerprint, end), (its_fingerprint, its_end) = self.constant, state["constant"]
        return bool(fingerprint == its_fingerprint and state["iteration"] <= min(end, its_end))

    def save(self, state: dict[str, Any]) -> None:
        """Copy the state and start to write it; until it is complete, the last one stays on disk.

        At the end of a constant phase, it is also kept for a longer run.

        Raises:
            MinlmError: the previous one could not be written.
        """
        self.wait()
        contents = _copy({"fingerprint": self.fingerprint, "constant": self.constant, **state})
        self._saving = self._saver.submit(self._write, contents)

    def _write(self, contents: dict[str, Any]) -> None:
        save_tensors(self.checkpoint, contents)
        if self.constant is not None and contents["iteration"] == self.constant[1]:
            with atomic_path(self.end_of_constant) as temporary:
                os.link(self.checkpoint, temporary)

    def wait(self) -> None:
        """Wait until the state is on disk; raise `MinlmError` if it could not be written."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def saved(self) -> Path | None:
        """The path of the last saved state, if there is one."""
        self.wait()
        return self.checkpoint if self.checkpoint.exists() else None

    def kept(self, name: str) -> Path:
        """Where a model that is kept, "best" or the number of a step, waits for the end of the run."""
        return self.folder / f"kept-{name}.pt"

    def finish(self) -> None:
        """Remove the state, because the results are written. The end of the `with` block removes the folder."""
        self.wait()
        self.checkpoint.unlink(missing_ok=True)


def _copy(value: Any) -> Any:
    """Copy nested dicts and lists, with all tensors in them, to the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
