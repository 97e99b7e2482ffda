"""What a person sees of a call with jobs side by side, and of Ctrl-C."""

import os
import pty
import re
import sys
import termios
import time
from contextlib import suppress

from checkout import SECONDS, environment

from minlm.progress import CLEAR

CALL = (
    "--cores", "2", "results/experiments/short/model.pt", "results/experiments/long/model.pt",
    "--config", "experiments={short: {training.seed: 1}, long: {training.total_tokens: 6400000}}",
)  # fmt: skip


def type_ctrl_c_after(pattern, folder):
    """Call snakemake at a terminal and type Ctrl-C when the pattern is shown; the exit status and all that is shown."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execve(sys.executable, [sys.executable, "-m", "snakemake", *CALL], environment())
    termios.tcsetwinsize(terminal, (24, 120))
    shown, typed, end = b"", False, time.monotonic() + SECONDS
    with suppress(OSError):  # the other side is closed
        while time.monotonic() < end and (block := os.read(terminal, 4096)):
            shown += block
            if not typed and re.search(pattern, shown.decode(errors="replace")):
                typed = bool(os.write(terminal, b"\x03"))
    os.close(terminal)  # also ends a call that hangs
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), shown.decode()


def test_two_trainings_side_by_side_and_ctrl_c(finished, new_checkout):
    status, shown = type_ctrl_c_after(r"\[1/2\] train short", new_checkout(like=finished.folder).folder)
    *lines, rest = [line.rpartition(CLEAR)[2] for line in shown.split("\r\n")]
    lines = lines[lines.index("2 steps: 2 × train") + 1 :]
    ended = next(line for line in lines if line.startswith("[1/2]"))
    assert re.match(r"\[1/2\] train short +\d+(\.\d)? s  results/experiments/short/model\.pt: 100 steps, valid", ended)
    for name in ("short", "long"):
        (size,) = (line for line in lines if line.startswith(f"{name}: train: "))
        assert re.search(r"\d parameters, 100(,000)? steps of 4 × 16", size)
        assert any(line.startswith(f"{name}: before training: validation loss") for line in lines)
    words = ("short: ", "long: ", "[1/2] ", " " * 10, "Stopped.")
    assert [line for line in lines if not line.startswith(words)] == []
    assert re.search(r"% (long|short): training: \d+ of 100(,000)? steps, ", shown)
    assert status == 1
    assert lines[-1] == "Stopped. What is finished stays; the same command continues from here."
    assert lines[-2] == "long: nlm-train: stopped, the state is saved; the same command continues from here."
    assert rest == ""
    assert "Traceback" not in shown
