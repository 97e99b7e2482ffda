"""How many CPU cores and how much memory this process may use: in a container, less than the machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from minlm.progress import log

OWN_CGROUPS = Path("/proc/self/cgroup")  # one line for each hierarchy, see cgroups(7): number:controllers:/path
CGROUPS = Path("/sys/fs/cgroup")

_said: set[int] = set()


def usable_threads(asked: int) -> int:
    """As many threads as were asked for, but no more than there are cores; a log line says, once, if they are fewer.

    More threads than cores wait for each other: training with 8 on 2 cores runs at half the speed.
    """
    cores = available_cores()
    if asked > cores and asked not in _said:
        _said.add(asked)
        log.info(f"--threads {asked}: this process may use {_counted(cores)}, so it takes {cores}")
    return min(asked, cores)


def available_cores() -> int:
    """The cores that this process may use, at least 1: the smaller of its affinity and the CPU quota of its cgroups.

    A quota of 1.5 cores is rounded up to 2.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [*_quotas("cpu.max"), *_quotas("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    return max(1, min([cores, *map(math.ceil, quotas)]))


def available_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or the limit of its cgroups if that is less."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [*_cgroup_values("", "memory.max"), *_cgroup_values("memory", "memory.limit_in_bytes")]
    return min([machine, *(int(limit) for (limit,) in limits if limit != "max")])


def _quotas(*names: str) -> Iterator[float]:
    """The CPU quotas, in cores, in the files of one version of cgroups."""
    for quota, period in _cgroup_values("cpu" if len(names) > 1 else "", *names):
        if quota.isdecimal() and float(period) > 0:  # "max" in version 2 and -1 in version 1 mean no quota
            yield int(quota) / float(period)


def _cgroup_values(controller: str, *names: str) -> Iterator[list[str]]:
    """The words in the named files of this process's cgroup and of each one around it, where there are such files.

    Args:
        controller: of version 1, such as "cpu"; "" for version 2.
        names: of the files.
    """
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        # In a container the path can be the host's, of which only the container's own cgroup is mounted, as the root.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            folder = CGROUPS.joinpath(*([controller] if controller else []), *parts[:depth])
            try:
                yield [word for name in names for word in (folder / name).read_text().split()]
            except OSError:
                continue


def _counted(cores: int) -> str:
    return "1 core" if cores == 1 else f"{cores} cores"
