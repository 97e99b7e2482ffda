"""Where the model runs: the device, threads and memory, the precision, and whether it is compiled."""

import ctypes
import importlib.util
import os
import shutil
import sysconfig
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from minlm.errors import MinlmError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h

# torch.compile pays where a run takes longer than this many seconds, at a speed that such a device reaches anyway.
WORTH_COMPILING = 200.0, 50.0  # on a CPU, on others
FLOPS_PER_SECOND = 1e11, 1e14  # of a CPU's thread, of other devices


def resolve_device(name: str | None = None) -> torch.device:
    """The device called `name` (cpu, cuda, cuda:1, mps); without a name, the best there is.

    Raises:
        MinlmError: this machine has no such device.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")  # not a device of torch's: refused below
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if device.type not in available:
        raise MinlmError(f"--device {name}: no such device; choose cpu, cuda or mps.")
    if not available[device.type]:
        raise MinlmError(f"--device {name}: this machine has none that torch can use; try --device cpu.")
    return device


def set_threads(count: int | None) -> None:
    """Let torch use `count` CPU threads; None leaves its own choice. Processes of `torchrun` share them."""
    if count is not None:
        if count < 1:
            raise MinlmError(f"--threads must be at least 1, not {count}.")
        torch.set_num_threads(max(1, count // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """The precision of matrix products: "float32", "bfloat16", or "auto".

    "auto" is bfloat16 where the hardware multiplies it faster (CUDA since Ampere, CPUs with AVX512-BF16 or AMX),
    float32 elsewhere. Weights are float32 in any case.
    """
    if name != "auto":
        if name not in DTYPES:
            raise MinlmError(f"dtype {name}: choose auto, float32 or bfloat16.")
        return DTYPES[name]
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32


def autocast(device: torch.device, dtype: str | torch.dtype) -> AbstractContextManager[object]:
    """Within it matrix products run in `dtype` ("auto", see `resolve_dtype`), the rest in float32."""
    resolved = resolve_dtype(dtype, device) if isinstance(dtype, str) else dtype
    if resolved == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, resolved)


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next tensors; with another C library this does nothing.

    By default large tensors get fresh pages from the kernel each time, which then fills them with zeros: up to a
    quarter of the time of a small model's training step on a CPU.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(M_MMAP_MAX, 0)  # everything from the heap, …
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)  # … which keeps up to 2 GB at its end


def resolve_compile(choice: str, device: torch.device, flops: float) -> bool:
    """Whether to train with torch.compile: "on", "off" or "auto", which compiles when the run is long enough.

    The answer to "auto" is a function of the run alone, never of a measurement: a run that is continued must compute
    the same numbers again.

    Args:
        choice: see above.
        device: of the model.
        flops: floating-point operations of the whole run.

    Raises:
        MinlmError: "on", and a compiler is missing.
    """
    if choice not in ("auto", "on", "off"):
        raise MinlmError(f"compile {choice}: choose auto, on or off.")
    if choice == "off":
        return False
    missing = _missing_for_compiling(device)
    if choice == "on":
        if missing:
            raise MinlmError(f"compile on: torch.compile needs {missing}. Install it, or choose compile auto or off.")
        return True
    kind = 0 if device.type == "cpu" else 1
    seconds = flops / FLOPS_PER_SECOND[kind] / (torch.get_num_threads() if device.type == "cpu" else 1)
    return device.type in ("cpu", "cuda") and seconds > WORTH_COMPILING[kind] and not missing


def _missing_for_compiling(device: torch.device) -> str:
    if not shutil.which(os.environ.get("CXX", "g++")) and not shutil.which("clang++"):
        return "a C++ compiler such as g++"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's header files (the package python3-dev)"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton"
    return ""
