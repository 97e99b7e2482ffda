"""The cores and the memory of this process, with cgroup files of the test and with real affinities."""

import os
import subprocess
import sys

import pytest

from minlm import cores
from minlm.cores import available_cores, available_memory, usable_threads

GB = 1 << 30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes this a machine of 8 cores and 64 GB with these lines in /proc/self/cgroup and files in /sys/fs/cgroup."""

    def make(own: str, files: dict[str, str]) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
        monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 64 * GB // 4096, "SC_PAGE_SIZE": 4096}.get)
        monkeypatch.setattr(cores, "OWN_CGROUPS", tmp_path / "cgroup")
        monkeypatch.setattr(cores, "CGROUPS", tmp_path / "fs")
        (tmp_path / "cgroup").write_text(own)
        for name, content in files.items():
            (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "fs" / name).write_text(content)

    return make


def v1(folder: str, quota: int) -> dict[str, str]:
    return {f"cpu/{folder}cpu.cfs_quota_us": f"{quota}\n", f"cpu/{folder}cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "1000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "6400000 100000\n"}, 8),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "100000 50000\n", "a/cpu.max": "300000 100000\n"}, 2),
        ("0::/../../a\n", {"a/cpu.max": "300000 100000\n"}, 3),
        ("0::/host/path/of/a/container\n", {"cpu.max": "250000 100000\n"}, 3),
        ("4:memory:/\n1:cpu:/\n0::/\n", v1("", -1), 8),
        ("3:cpuset:/x\n1:cpu,cpuacct:/a/b\n", v1("a/b/", 400000) | v1("a/", 250000), 3),
        ("1:cpuacct,cpu:/docker/0123\n", v1("", 50000), 1),
        ("1:cpuset:/a\n", v1("a/", 100000), 8),
    ],
)
def test_quotas(machine, own, files, expected):
    machine(own, files)
    assert available_cores() == expected


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {}, 64),
        ("0::/a\n", {"a/memory.max": "max\n", "memory.max": f"{4 * GB}\n"}, 4),
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": f"{2 * GB}\n"}, 2),
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": "9223372036854771712\n"}, 64),
    ],
)
def test_memory(machine, own, files, expected):
    machine(own, files)
    assert available_memory() == expected * GB


def test_without_cgroups_and_affinities(machine, monkeypatch, tmp_path):
    machine("", {})
    (tmp_path / "cgroup").unlink()
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available_cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


def test_a_reduction_is_logged_once(machine, monkeypatch):
    machine("0::/\n", {"cpu.max": "200000 100000\n"})
    said: list[str] = []
    monkeypatch.setattr(cores, "_reported", set())
    monkeypatch.setattr(cores.log, "info", said.append)
    assert [usable_threads(asked) for asked in (1, 2, 8, 8)] == [1, 2, 2, 2]
    assert said == ["--threads 8: using 2, the number of cores available to this process"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinities")
def test_a_real_affinity():
    program = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])"  # as taskset does
    program += "; from minlm.cores import available_cores; print(available_cores())"
    assert subprocess.check_output([sys.executable, "-c", program], timeout=60) == b"1\n"
