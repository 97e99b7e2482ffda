"""The CPU cores and the memory that this process may use. In a container, both can be less than the machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from minlm.progress import log

OWN_CGROUPS = Path("/proc/self/cgroup")  # one line per hierarchy, see cgroups(7): number:controllers:/path
CGROUPS = Path("/sys/fs/cgroup")

_reported: set[int] = set()


def usable_threads(requested: int) -> int:
    """The lower of `requested` and the number of available cores; a reduction is logged once.

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
    limits = [*_cgroup_values("", "cpu.max"), *_cgroup_values("cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")]
    # Without a quota, it is "max" in version 2 of cgroups and -1 in version 1.
    quotas = [int(quota) / int(period) for quota, period in limits if quota.isdecimal() and int(period) > 0]
    return max(1, min([cores, *map(math.ceil, quotas)]))


def available_memory() -> int:
    """The memory that this process may use, in bytes: the lower of the machine's memory and the cgroup limit."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [*_cgroup_values("", "memory.max"), *_cgroup_values("memory", "memory.limit_in_bytes")]
    return min([machine, *(int(limit) for (limit,) in limits if limit != "max")])


def _cgroup_values(controller: str, *names: str) -> Iterator[list[str]]:
    """Yield the words in the files `names` of this process's cgroup, then of each ancestor that has these files.

    `controller` is one of cgroup version 1, such as "cpu", or "" for version 2.
    """
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        # In a container, the path can be the host's, although the container's own cgroup is mounted as the root.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            folder = CGROUPS.joinpath(*([controller] if controller else []), *parts[:depth])
            try:
                yield [word for name in names for word in (folder / name).read_text().split()]
            except OSError:
                continue
