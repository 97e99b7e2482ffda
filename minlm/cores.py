"""The number of CPU cores and the memory that this process may use. A container may allow less than the machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from minlm.progress import log

OWN_CGROUPS = Path("/proc/self/cgroup")  # one line per hierarchy, see cgroups(7): number:controllers:/path
CGROUPS = Path("/sys/fs/cgroup")

_reported: set[int] = set()


def usable_threads(requested: int) -> int:
    """`requested` threads, limited to the number of available cores; a lower number is logged once.

    More threads than cores wait for each other: training with 8 threads on 2 cores runs at half the speed.
    """
    cores = available_cores()
    if requested > cores and requested not in _reported:
        _reported.add(requested)
        log.info(f"--threads {requested}: using {cores}, the number of cores available to this process")
    return min(requested, cores)


def available_cores() -> int:
    """The number of cores that this process may use, at least 1: the lower of CPU affinity and cgroup quota.

    A quota of 1.5 cores counts as 2.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [*_quotas("", "cpu.max"), *_quotas("cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")]
    return max(1, min([cores, *map(math.ceil, quotas)]))


def available_memory() -> int:
    """The memory that this process may use, in bytes: the lower of the machine's memory and the cgroup limit."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [*_cgroup_values("", "memory.max"), *_cgroup_values("memory", "memory.limit_in_bytes")]
    return min([machine, *(int(limit) for (limit,) in limits if limit != "max")])


def _quotas(controller: str, *names: str) -> Iterator[float]:
    """CPU quotas in cores; arguments as for `_cgroup_values`."""
    for quota, period in _cgroup_values(controller, *names):
        if quota.isdecimal() and float(period) > 0:  # "max" in version 2 and -1 in version 1 mean no quota
            yield int(quota) / float(period)


def _cgroup_values(controller: str, *names: str) -> Iterator[list[str]]:
    """Yield the words in the files `names`, for this process's cgroup and then for each of its ancestors.

    Args:
        controller: for cgroup version 1, such as "cpu"; "" for version 2.
        names: files in a cgroup's folder. A cgroup without them is skipped.
    """
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        # In a container the path may be the host's, while only the container's own cgroup is mounted, as the root.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            folder = CGROUPS.joinpath(*([controller] if controller else []), *parts[:depth])
            try:
                yield [word for name in names for word in (folder / name).read_text().split()]
            except OSError:
                continue
