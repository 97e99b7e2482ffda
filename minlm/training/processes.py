"""Several processes that train one model together, started by `torchrun` or `srun`.

Each process computes the gradient of its share of every batch. torch's DistributedDataParallel averages the gradients,
and all processes take the same step. Only the first one writes files and logs.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from minlm.errors import MinlmError
from minlm.training.device import resolve_device

T = TypeVar("T")


LONGEST_WORK = timedelta(days=7)  # of the first process while the others wait, for example until a lock is free


class Processes:
    """The `count` processes that train together; this one has the number `rank`, from 0. By default it is alone.

    In the `group` they wait for the first one; torch's usual one gives up after half an hour.
    """

    def __init__(self, rank: int = 0, count: int = 1, group: dist.ProcessGroup | None = None):
        self.rank, self.count, self.group = rank, count, group

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and logs."""
        return self.rank == 0

    def share_gradients(self, module: nn.Module, device: torch.device) -> nn.Module:
        """Wrap the module so that each backward pass averages the gradients over all processes."""
        if self.count == 1:
            return module
        devices = [device] if device.type == "cuda" else None
        return DistributedDataParallel(module, devices, broadcast_buffers=False, gradient_as_bucket_view=True)

    def without_sharing(self, module: nn.Module) -> AbstractContextManager[Any]:
        """A context in which gradients stay in this process: for all parts of a batch but the last."""
        return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()

    def sum(self, values: Tensor) -> Tensor:
        """The sum of the tensors of all processes."""
        if self.count > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is true in any process. Only CPUs exchange messages; no device waits."""
        return flag if self.count == 1 else bool(self.sum(torch.tensor(float(flag))) > 0)

    def from_first(self, work: Callable[[], T]) -> T:
        """Call `work` in the first process and return its result in all. If it raises an error, all processes end.

        Raises:
            SystemExit: `work` failed in the first process, which raises the error itself.
        """
        if self.count == 1:
            return work()
        answer: list[Any] = [None, False]  # the result, and whether there is one
        try:
            if self.is_first:
                answer = [work(), True]
        finally:
            dist.broadcast_object_list(answer, group=self.group, device=torch.device("cpu"))
        if not answer[1]:
            raise SystemExit(1)
        return answer[0]


@contextmanager
def joined_processes(device_name: str | None = None) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that `torchrun` or `srun` has started, if any; yield them and the device of this process.

    Args:
        device_name: see `device.resolve_device`; "cuda" without a number gives each process a GPU of its own.

    Raises:
        MinlmError: there is no such device, several processes would share an Apple GPU, or another process has ended.
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
        yield Processes(rank, count, dist.new_group(backend="gloo", timeout=LONGEST_WORK)), device
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo/transport" not in str(error):
            raise
        raise MinlmError(
            f"process {rank} lost the connection to another one, which has ended or whose machine is gone. "
            "See its error, then give the same command again."
        ) from error
    finally:
        dist.destroy_process_group()


def _place(environment: Mapping[str, str]) -> tuple[int, int, int] | None:
    """Rank, number of processes and rank on this machine; None if this process is alone.

    The first process listens for the others at an address that `torchrun` sets. Under `srun` it is set here.
    """
    if int(environment.get("WORLD_SIZE", 1)) > 1:
        return tuple(int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))  # type: ignore[return-value]
    if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        os.environ.setdefault("MASTER_ADDR", first_host(environment["SLURM_STEP_NODELIST"]))
        os.environ.setdefault("MASTER_PORT", str(29500 + int(environment.get("SLURM_JOB_ID", 0)) % 1000))
        return tuple(int(environment[f"SLURM_{name}"]) for name in ("PROCID", "STEP_NUM_TASKS", "LOCALID"))  # type: ignore[return-value]
    return None


def first_host(nodes: str) -> str:
    """The first machine in Slurm's list notation: node[03-05,07],other1 → node03."""
    return re.sub(r"^([^,\[]*)(?:\[(\w+))?.*$", r"\1\2", nodes)
