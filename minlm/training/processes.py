"""Several processes that train one model together, started by `torchrun` or `srun`; all communication is torch's.

Each process computes the gradient of its share of every batch, DistributedDataParallel averages them, and all take
the same step. The first process alone writes, reads states and speaks.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from minlm.errors import MinlmError
from minlm.training.device import resolve_device

T = TypeVar("T")


class Processes:
    """This process among those that train together; by default it is alone.

    Args:
        rank: its number, from 0.
        count: how many there are.
    """

    def __init__(self, rank: int = 0, count: int = 1):
        self.rank, self.count = rank, count

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def share_gradients(self, module: nn.Module, device: torch.device) -> nn.Module:
        """The module, with gradients averaged over all processes in every backward pass."""
        if self.count == 1:
            return module
        devices = [device] if device.type == "cuda" else None
        return DistributedDataParallel(module, devices, broadcast_buffers=False, gradient_as_bucket_view=True)

    def without_sharing(self, module: nn.Module) -> AbstractContextManager[Any]:
        """Within it gradients gather in this process alone, for all but the last part of a batch."""
        return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()

    def sum(self, values: Tensor) -> Tensor:
        """The sum of the processes' tensors."""
        if self.count > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any of the processes. Costs a message on the CPUs; the devices need not wait."""
        return flag if self.count == 1 else bool(self.sum(torch.tensor(float(flag))) > 0)

    def from_first(self, work: Callable[[], T]) -> T:
        """What `work` returns in the first process, which alone calls it.

        Raises:
            MinlmError: `work` raised it, in the first process.
            SystemExit: in all others then.
        """
        if self.count == 1:
            return work()
        answer: list[Any] = [None, True]
        error = None
        if self.is_first:
            try:
                answer[0] = work()
            except MinlmError as raised:
                error, answer[1] = raised, False
        dist.broadcast_object_list(answer, device=torch.device("cpu"))
        if error is not None:
            raise error
        if not answer[1]:
            raise SystemExit(1)
        return answer[0]


@contextmanager
def joined_processes(device_name: str | None = None) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that `torchrun` or `srun` started beside this one, if it was started so.

    Args:
        device_name: see `device.resolve_device`; without a number, each process on a machine takes a GPU of its own.

    Yields:
        the processes, and this one's device.

    Raises:
        MinlmError: there is no such device, or it is an Apple GPU and there are several processes.
    """
    place = _place(os.environ)
    if place is None:
        yield Processes(), resolve_device(device_name)
        return
    rank, count, local_rank = place
    device = resolve_device(device_name)
    if device.type == "mps":
        raise MinlmError("several processes cannot train together on mps: start one, or give --device cpu.")
    if device.type == "cuda" and device.index is None:
        device = resolve_device(f"cuda:{local_rank}")
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", rank=rank, world_size=count)
    try:
        yield Processes(rank, count), device
    finally:
        dist.destroy_process_group()


def _place(environment: Mapping[str, str]) -> tuple[int, int, int] | None:
    """Rank, number of processes and rank on this machine, or None for a process on its own.

    `torchrun` says where the first process listens, `srun` does not: that is then the first machine of the step.
    """
    if int(environment.get("WORLD_SIZE", 1)) > 1:
        return tuple(int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))  # type: ignore[return-value]
    if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        os.environ.setdefault("MASTER_ADDR", first_host(environment["SLURM_STEP_NODELIST"]))
        os.environ.setdefault("MASTER_PORT", str(29500 + int(environment.get("SLURM_JOB_ID", 0)) % 1000))
        return tuple(int(environment[f"SLURM_{name}"]) for name in ("PROCID", "STEP_NUM_TASKS", "LOCALID"))  # type: ignore[return-value]
    return None


def first_host(nodes: str) -> str:
    """The first of Slurm's short form of a list of machines: node[03-05,07],other1 → node03."""
    return re.sub(r"^([^,\[]*)(?:\[(\w+))?.*$", r"\1\2", nodes)
