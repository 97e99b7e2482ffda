"""Devices, threads and precision."""

import pytest
import torch

from minlm.errors import MinlmError
from minlm.transformer.device import autocast, resolve_device, resolve_dtype, set_threads


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
    assert resolve_dtype("auto", torch.device("cpu")) == expected
    with autocast(torch.device("cpu"), "auto"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


def test_explicit_precision():
    with autocast(torch.device("cpu"), "float32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with pytest.raises(MinlmError, match="dtype float16: choose auto, float32 or bfloat16"):
        resolve_dtype("float16", torch.device("cpu"))
