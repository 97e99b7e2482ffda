"""Devices, threads and precision."""

import pytest
import torch

from minlm.errors import MinlmError
from minlm.fast.memory import keep_freed_memory
from minlm.fast.transformer.compiling import resolve_compile
from minlm.training.device import autocast, resolve_device, resolve_dtype, set_threads


def test_a_device_is_found():
    assert resolve_device("cpu") == torch.device("cpu")
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert resolve_device().type == best


def test_cuda_on_a_machine_without(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MinlmError, match=r"--device cuda: this machine has none .* try --device cpu"):
        resolve_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "meta", "", "cpu:x"])
def test_unknown_devices(name):
    with pytest.raises(MinlmError, match="choose cpu, cuda or mps"):
        resolve_device(name)


def test_a_gpu_number_too_high(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1").index == 1
    with pytest.raises(MinlmError, match="cuda:2"):
        resolve_device("cuda:2")


def test_threads():
    before = torch.get_num_threads()
    set_threads(None)
    assert torch.get_num_threads() == before
    set_threads(1)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)
    with pytest.raises(MinlmError, match="--threads must be at least 1, not 0"):
        set_threads(0)


@pytest.mark.parametrize(("avx", "amx"), [(False, False), (True, False), (False, True)])
def test_auto_is_bfloat16_where_the_cpu_has_it(monkeypatch, avx, amx):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    expected = torch.bfloat16 if avx or amx else torch.float32
    dtype = resolve_dtype("auto", torch.device("cpu"))
    assert dtype == expected
    with autocast(torch.device("cpu"), dtype):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_explicit_precision(dtype):
    assert resolve_dtype(str(dtype).removeprefix("torch."), torch.device("cpu")) == dtype
    with autocast(torch.device("cpu"), dtype):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.fixture
def cores(monkeypatch):
    """Makes this a machine of `number` cores on which torch would take 64 threads."""
    before = torch.get_num_threads()

    def make(number: int) -> None:
        torch.set_num_threads(64)
        for module in ("minlm.cores", "minlm.training.device"):
            monkeypatch.setattr(f"{module}.available_cores", lambda: number)

    yield make
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("asked", "available", "processes", "threads"),
    [
        (12, 16, 4, 3),
        (12, 8, 4, 2),
        (2, 16, 4, 1),
        (64, 2, 4, 1),
        (64, 2, 1, 2),
        (8, 8, 1, 8),
        (None, 3, 1, 3),
        (None, 128, 1, 64),
        (None, 8, 4, 2),
    ],
)
def test_no_more_threads_than_cores(cores, monkeypatch, asked, available, processes, threads):
    cores(available)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    set_threads(asked)
    assert torch.get_num_threads() == threads


def test_long_runs_are_compiled(monkeypatch, tmp_path):
    cpu, mps = torch.device("cpu"), torch.device("mps")
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/g++")
    assert [resolve_compile("auto", cpu, flops) for flops in (1e12, 1e15)] == [False, True]
    assert not resolve_compile("auto", mps, 1e20)
    assert [resolve_compile(choice, cpu, flops) for choice, flops in [("on", 1), ("off", 1e20)]] == [True, False]
    with pytest.raises(MinlmError, match="compile yes: choose auto, on or off"):
        resolve_compile("yes", cpu, 1)

    (tmp_path / "Python.h").unlink()
    assert resolve_compile("auto", cpu, 1e20)  # a function of the run, not of what is installed
    with pytest.raises(MinlmError, match="needs Python's header files"):
        resolve_compile("on", cpu, 1)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(MinlmError, match="needs a C\\+\\+ compiler"):
        resolve_compile("on", cpu, 1)


def test_a_long_run_on_a_gpu_is_compiled(monkeypatch):
    cuda = torch.device("cuda")
    monkeypatch.setattr("minlm.fast.transformer.compiling.missing_for_compiling", lambda device: "")
    # The reference run takes some minutes; a smaller one would end before it is compiled.
    assert [resolve_compile("auto", cuda, flops) for flops in (1e14, 1.8e16)] == [False, True]


def test_without_glibc_malloc_stays_as_it_is(monkeypatch):
    keep_freed_memory()
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    keep_freed_memory()
