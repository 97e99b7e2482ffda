"""How kernels are compiled, and kept for later processes."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from minlm.errors import MinlmError
from minlm.fast.tokenization.kernels import cache
from minlm.locks import open_locked
from minlm.progress import log

try:
    from numba import njit
    from numba.core import config, event
    from numba.core.caching import CompileResultCacheImpl, FunctionCache
except ImportError as error:
    raise MinlmError(
        f"the fast tokenizer needs numba, which cannot be imported ({error}). Install it (pip install numba), "
        "or use the slow one in plain Python: --backend python, or BPETokenizer(..., backend='python')"
    ) from error


_FOLDER = cache.find_folder()


class _CacheFiles(CompileResultCacheImpl):
    """Names the files of a kernel after the kernel, not after the path of its source."""

    def __init__(self, function: Callable[..., Any]):
        self._filename_base = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"

    @property
    def locator(self) -> Any:
        return self

    def get_cache_path(self) -> str:
        return str(_FOLDER)

    def get_source_stamp(self) -> str:
        return ""  # the name of the folder contains a hash of all sources

    def ensure_cache_path(self) -> None:
        pass


class _CachedKernel(FunctionCache):
    """Saves a compiled kernel for later processes. A file that cannot be read is replaced."""

    _impl_class = _CacheFiles
    all_saved = True

    def load_overload(self, signature: Any, target: Any) -> Any:
        try:
            return super().load_overload(signature, target)
        except Exception:  # unpickling a damaged file can raise anything
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        try:
            with open_locked(Path(self.cache_path, "saving.lock"), "wb"):  # numba itself does not lock its index
                super().save_overload(signature, compiled)
        except OSError:  # the disk is full, or the folder belongs to another user
            _CachedKernel.all_saved = False


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call, and save the result for later processes.

    Kernels create no arrays, so numba need not count references (`_nrt`), which would take longer than most of their
    work: https://github.com/numba/numba/issues/2345.
    """
    compiled = njit(nogil=True, _nrt=False, no_cfunc_wrapper=True)(function)
    if _FOLDER:
        compiled._cache = _CachedKernel(function)
    return compiled


def compile_all(run: Callable[[], None]) -> None:
    """Compile all kernels at once, by calling `run`, so that no later program has to compile some of them.

    Loops are not vectorized, which makes compiling faster: where it is possible, the kernels themselves process many
    bytes at once.
    """
    if _FOLDER is None:
        return
    complete = _FOLDER / cache.COMPLETE
    if complete.exists():
        with suppress(OSError):  # it may belong to another user
            complete.touch()
        return
    before, config.LOOP_VECTORIZE = config.LOOP_VECTORIZE, 0
    try:
        with open_locked(_FOLDER / "compiling.lock", "wb", busy="another process is compiling the kernels"):
            run()  # a process that had to wait loads the kernels of the other
            if _CachedKernel.all_saved:
                complete.touch()
    finally:
        config.LOOP_VECTORIZE = before


def _how_often() -> str:
    if _FOLDER is None:
        return "for this process alone: no folder for them can be written; set NUMBA_CACHE_DIR to one that can"
    if cache.is_temporary(_FOLDER):
        return f"for {_FOLDER}: the user's cache cannot be written; set NUMBA_CACHE_DIR to a folder that can"
    return "once on this machine"


class _Announcement(event.Listener):
    """Logs, once, that kernels are being compiled, because that takes seconds."""

    made = False

    def on_start(self, event: event.Event) -> None:
        if not self.made:
            self.made = True
            log.info(f"compiling the tokenizer's kernels {_how_often()} (about 15 s)")

    def on_end(self, event: event.Event) -> None:
        pass


event.register("numba:compile", _Announcement())
