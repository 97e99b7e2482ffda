"""The run alone decides what "auto" means, also after an interruption; it is recorded; compiling may fail."""

import functools
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from functorch.compile import make_boxed_func
from small_runs import make_settings, result, run, stop_after
from torch._dynamo.backends.common import aot_autograd

from minlm.errors import MinlmError
from minlm.fast.transformer.compiling import resolve_compile
from minlm.fast.transformer.loss import _compiled
from minlm.training.computation import Computation
from minlm.training.processes import Processes
from minlm.training.signals import Interrupted
from minlm.transformer.checkpoint import load_model, load_tensors, save_tensors

CPU = torch.device("cpu")


def recorded(folder, name="model.pt") -> tuple[str, str]:
    training = load_model(folder / name)[1]["training"]
    return training["dtype"], training["compile"]


def fails(*arguments):
    raise RuntimeError("C++ compile error\n\nCommand: g++\nx.cpp:1: fatal error: no such file\n")


@pytest.fixture
def compiler(monkeypatch):
    """A torch.compile that does nothing, for short runs, too; `compiler("forward")` or ("backward") breaks it."""
    monkeypatch.setattr("minlm.fast.transformer.compiling.WORTH_COMPILING", {"cpu": 1.0})
    monkeypatch.setattr("minlm.training.computation.missing_for_compiling", lambda device: "")
    backend = aot_autograd(fw_compiler=lambda graph, inputs: make_boxed_func(graph.forward), bw_compiler=fails)
    ways = {
        "nowhere": lambda function: function,
        "forward": lambda function: fails,  # at the call, like the real one
        "backward": functools.partial(torch.compile, backend=backend),
    }
    _compiled.cache_clear()

    def fail(where: str) -> None:
        monkeypatch.setattr(torch, "compile", ways[where])

    fail("nowhere")
    yield fail
    _compiled.cache_clear()
    torch._dynamo.reset()


def test_auto_is_a_function_of_the_run_alone(monkeypatch):
    def answers():
        return [resolve_compile("auto", torch.device(d), f) for d in ("cpu", "cuda", "mps") for f in (1e13, 1e14, 1e16)]

    before = torch.get_num_threads()
    expected = answers()
    assert expected == [False, True, True, False, False, True, False, False, False]
    try:
        for threads, program, headers in [(1, None, "/nowhere"), (7, "/usr/bin/g++", "/usr/include")]:
            torch.set_num_threads(threads)
            monkeypatch.setattr(shutil, "which", lambda name, program=program: program)
            monkeypatch.setattr("sysconfig.get_path", lambda name, headers=headers: headers)
            assert answers() == expected
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_model_records_what_auto_chose(folder, monkeypatch, compiler, dtype):
    monkeypatch.setattr("minlm.training.computation.resolve_dtype", lambda name, device: getattr(torch, dtype))
    run(folder, settings=make_settings(dtype="auto"))
    assert recorded(folder) == (dtype, "on")
    run(folder, settings=make_settings(dtype="auto", compile="off"))
    assert recorded(folder) == (dtype, "off")


@pytest.mark.parametrize("which", ["forward", "backward", "missing"])
def test_auto_continues_without_a_compiler_that_fails(folder, monkeypatch, compiler, caplog, which):
    run(folder, "plain.pt", settings=make_settings(compile="off"))
    if which == "missing":
        monkeypatch.setattr("minlm.training.computation.missing_for_compiling", lambda device: "a C++ compiler")
    compiler("nowhere" if which == "missing" else which)
    with caplog.at_level("WARNING", logger="minlm"):
        run(folder)
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and r.name == "minlm"]
    assert "going on without torch.compile, which does not work here" in warning
    assert ("a C++ compiler" if which == "missing" else "x.cpp:1: fatal error: no such file") in warning
    assert "\n" not in warning
    assert recorded(folder) == ("float32", "off")
    assert result(folder, "model.pt") == result(folder, "plain.pt")


@pytest.mark.parametrize("which", ["forward", "backward"])
def test_on_ends_with_a_clear_error(folder, compiler, which):
    compiler(which)
    message = r"^compile on: torch\.compile does not work here .*no such file\)\)\. Choose compile auto or off\.$"
    with pytest.raises(MinlmError, match=message):
        run(folder, settings=make_settings(compile="on"))
    assert not (folder / "model.pt").exists()


def interrupt(folder, monkeypatch, **changes):
    stop_after(monkeypatch, 17)
    with pytest.raises(Interrupted):
        run(folder, settings=make_settings(**changes))


def test_a_run_continues_as_it_began(folder, monkeypatch, compiler, caplog):
    """Begun in bfloat16 without a working compiler, ended on a machine whose own choice is float32, compiled."""
    settings = {"dtype": "auto"}
    monkeypatch.setattr("minlm.training.computation.resolve_dtype", lambda name, device: torch.bfloat16)
    compiler("forward")
    run(folder, "whole.pt", settings=make_settings(**settings))
    interrupt(folder, monkeypatch, **settings)
    monkeypatch.setattr("minlm.training.computation.resolve_dtype", lambda name, device: torch.float32)
    compiler("nowhere")
    caplog.clear()
    with caplog.at_level("INFO", logger="minlm"):
        run(folder, settings=make_settings(**settings))
    assert "continuing" in caplog.text
    assert "rounding" not in caplog.text
    assert result(folder, "model.pt") == result(folder, "whole.pt")
    assert recorded(folder) == ("bfloat16", "off")


def test_changes_during_a_run_are_logged_and_recorded(folder, monkeypatch, compiler, caplog):
    interrupt(folder, monkeypatch)
    compiler("forward")
    run(folder)  # the compiler no longer works
    assert "going on without torch.compile" in caplog.text
    assert recorded(folder) == ("float32", "on, then off")
    (folder / "model.pt").unlink()
    compiler("nowhere")
    interrupt(folder, monkeypatch)
    with caplog.at_level("INFO", logger="minlm"):
        run(folder, settings=make_settings(compile="off"))
    assert "from here on, rounding differs: compile off instead of on" in caplog.text


def test_a_state_without_a_record_is_continued(folder, monkeypatch):
    """States of earlier versions."""
    run(folder, "whole.pt")
    interrupt(folder, monkeypatch)
    path = folder / ".model.pt.in_progress/checkpoint.pt"
    state = load_tensors(path)
    del state["computed"]
    save_tensors(path, state)
    run(folder)
    assert result(folder, "model.pt") == result(folder, "whole.pt")


def test_another_kind_of_device_chooses_for_itself(caplog):
    how = Computation(make_settings(), CPU, flops=1.0)
    with caplog.at_level("INFO", logger="minlm"):
        how.continue_from({"device": "cuda", "dtype": "float32", "compile": "on"})
    assert how.record() == {"device": "cuda, then cpu", "dtype": "float32", "compile": "on, then off"}
    assert "device cpu instead of cuda, compile off instead of on" in caplog.text


def test_of_several_processes_all_stop_compiling(compiler, caplog, monkeypatch):
    """This one could compile, another could not."""

    class Loss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.compiled = True

        def forward(self, inputs, targets):
            return torch.tensor(1.0 if self.compiled else 2.0)

        def stop_compiling(self):
            self.compiled = False

    monkeypatch.setattr("minlm.training.computation.LanguageModelLoss", Loss)
    monkeypatch.setattr(Processes, "any", lambda self, flag: True)
    how = Computation(make_settings(), CPU, flops=1e15)
    assert how.loss(Loss(), torch.zeros(1), torch.zeros(1), Processes(0, 2)) == 2.0
    assert not how.compiled
    assert "it failed in another process" in caplog.text


PROGRAM = """
import minlm.fast.transformer.compiling
minlm.fast.transformer.compiling.WORTH_COMPILING = {"cpu": 1.0}
from minlm.scripts import train
train.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["a compiler that fails", "a space in a path"])
def test_the_real_compiler(folder, broken):
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(folder / "with space")}
    if broken == "a compiler that fails":
        environment |= {"TORCHINDUCTOR_CACHE_DIR": str(folder / "cache"), "CXX": "/bin/false"}
    flags = (
        "--train_tokens train.npy --val_tokens valid.npy --vocab_size 16 --context_length 8 --d_model 16 "
        "--num_layers 1 --num_heads 2 --d_ff 24 --batch_size 4 --total_tokens 640 --warmup_iters 1 --device cpu"
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *flags.split()], cwd=folder, env=environment, text=True, timeout=300,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("going on without torch.compile") == 1
    assert "Traceback" not in done.stdout
    assert recorded(Path(folder))[1] == "off"
