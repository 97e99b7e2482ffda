"""Where and how the model runs: the device, its CPU threads, and the precision of matrix products."""

import os
from contextlib import AbstractContextManager, nullcontext

import torch

from minlm.cores import available_cores, usable_threads
from minlm.errors import MinlmError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_device(name: str | None = None) -> torch.device:
    """The device called `name` (cpu, cuda, cuda:1, mps); without a name, a GPU if there is one.

    Raises:
        MinlmError: this machine has no such device.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")  # torch has no such device: refused below
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

    Processes started by `torchrun` share them. Slurm gives each process of `srun` its own cores.
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
    """The precision of matrix products: "float32", "bfloat16" or "auto".

    "auto" is bfloat16 where the hardware multiplies it faster (CUDA since Ampere, CPUs with AVX512-BF16 or AMX) and
    float32 elsewhere. Weights are always float32.
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
    """A context in which matrix products run in `dtype` (see `resolve_dtype`), the rest in float32."""
    resolved = resolve_dtype(dtype, device) if isinstance(dtype, str) else dtype
    if resolved == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, resolved)
