"""The device that runs the model, the CPU threads, and the precision of matrix products."""

import os
from contextlib import AbstractContextManager, nullcontext

import torch

from minlm.cores import available_cores, usable_threads
from minlm.errors import MinlmError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_device(name: str | None = None) -> torch.device:
    """The device called `name` (cpu, cuda, cuda:1, mps); by default a GPU if there is one.

    Raises:
        MinlmError: this machine has no such device.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")  # refused below
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
    """Let torch use `count` CPU threads (default: torch's choice), but no more than there are cores.

    The processes of `torchrun` share them; those of `srun` have cores of their own.
    """
    if count is not None and count < 1:
        raise MinlmError(f"--threads must be at least 1, not {count}.")
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if count is None:  # torch knows the affinity but not a container's quota
        threads = min(torch.get_num_threads(), available_cores() // processes)
    else:
        threads = usable_threads(count) // processes
    torch.set_num_threads(max(1, threads))


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """The precision of matrix products that "float32", "bfloat16" or "auto" stands for.

    "auto" is bfloat16 where the hardware multiplies it faster (CUDA since Ampere, CPUs with AVX512-BF16 or AMX) and
    float32 elsewhere. Weights are always float32.
    """
    if name != "auto":
        return DTYPES[name]
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """A context in which matrix products run in `dtype` and the rest in float32."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
