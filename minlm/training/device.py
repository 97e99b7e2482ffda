"""Where the model runs: the device, threads and memory, the precision, and whether it is compiled."""

import ctypes
import importlib.util
import math
import os
import shutil
import sysconfig
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from minlm.cores import available_cores, usable_threads
from minlm.errors import MinlmError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h

# Floating-point operations of a run from which on torch.compile pays: what such a device does in a few minutes.
WORTH_COMPILING = {"cpu": 8e13, "cuda": 5e15}


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


def set_threads(count: int | None = None) -> None:
    """Let torch use `count` CPU threads, or as many as it would choose itself, but no more than there are cores.

    Processes of `torchrun` share them; those of `srun` are given cores of their own by Slurm.
    """
    if count is not None and count < 1:
        raise MinlmError(f"--threads must be at least 1, not {count}.")
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if count is None:  # torch knows the affinity, but not a container's quota; torchrun gives each process a number
        threads = min(torch.get_num_threads(), available_cores() // processes)
    else:
        threads = usable_threads(count) // processes
    torch.set_num_threads(max(1, threads))


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

    The answer to "auto" is a function of the run and the kind of device alone: threads, processes, what is installed
    and measurements do not count, so that a run that is made again computes the same numbers.

    Args:
        choice: see above.
        device: of the model.
        flops: floating-point operations of the whole run.

    Raises:
        MinlmError: another choice; or "on", and a compiler is missing.
    """
    if choice not in ("auto", "on", "off"):
        raise MinlmError(f"compile {choice}: choose auto, on or off.")
    if choice == "on" and (missing := missing_for_compiling(device)):
        raise MinlmError(f"compile on: torch.compile needs {missing}. Install it, or choose compile auto or off.")
    return choice == "on" or (choice == "auto" and flops > WORTH_COMPILING.get(device.type, math.inf))


def missing_for_compiling(device: torch.device) -> str:
    """What torch.compile needs and this machine lacks, or ""."""
    if not shutil.which(os.environ.get("CXX", "g++")) and not shutil.which("clang++"):
        return "a C++ compiler such as g++"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's header files (the package python3-dev)"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton"
    return ""


def why_compiling_failed(error: Exception) -> str:
    """The first line of what torch.compile says, with the compiler's own first error; at most 300 characters."""
    error = getattr(error, "inner_exception", error)  # torch's wrapper of what the compiler raised
    lines = [line.strip() for line in f"{type(error).__name__}: {error}".splitlines()]
    of_compiler = next((f" ({line})" for line in lines[1:] if "error:" in line), "")
    return f"{lines[0]}{of_compiler}"[:300]
