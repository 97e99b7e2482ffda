"""Jobs end with their snakemake, programs started by hand do not."""

import os
import signal
import subprocess
import sys
import time

import pytest

from minlm import process

WORK = """
import sys, time
from minlm import process, progress
from minlm.scripts import cli
process.POLL_SECONDS = 0.05
def work(arguments):
    print("working", flush=True)
    time.sleep(float(sys.argv[1]))
cli.run(cli.make_parser("work", "", ""), work, [])
"""

# starts the work, prints its process ID, and runs until it is killed
PARENT = """
import os, subprocess, sys, time
from minlm import process
if sys.argv[1] == "owner":
    process.become_owner()
child = subprocess.Popen([sys.executable, "-c", sys.argv[2], sys.argv[3]])
print(child.pid, flush=True)
time.sleep(60)
"""


def start(kind, seconds, **variables):
    """A parent and its child, which works; the child's PID."""
    environment = {k: v for k, v in os.environ.items() if k not in (process.OWNER, "TORCHELASTIC_RUN_ID")} | variables
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, kind, WORK, str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    lines = {parent.stdout.readline(), parent.stdout.readline()}
    lines.remove("working\n")
    return parent, int(lines.pop())


def test_a_job_ends_with_the_snakemake_that_was_killed():
    parent, child = start("owner", 60)
    parent.kill()
    _, errors = parent.communicate(timeout=20)  # ends when the child has closed it, too
    assert errors == "the process that started this one has ended: stopping\n"
    end = time.monotonic() + 20
    while process._status(child)[0]:
        assert time.monotonic() < end


def test_a_process_of_torchrun_ends_with_it():
    parent, _ = start("hand", 60, TORCHELASTIC_RUN_ID="x")
    parent.kill()
    assert "stopping" in parent.communicate(timeout=20)[1]


def test_a_grandchild_ends_with_the_owner():
    """The owner is not the parent: torchrun or srun is between the two."""
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    code = f"from minlm import process; process._machine(); print(process._machine(), process._status({owner.pid})[1])"
    machine, started = subprocess.run([sys.executable, "-c", code], stdout=-1, text=True).stdout.split()
    parent, _ = start("hand", 60, **{process.OWNER: f"{machine}-{owner.pid}-{started}"})
    owner.kill()
    owner.wait()
    parent_errors = parent.stderr.readline()
    parent.kill()
    parent.communicate()
    assert "stopping" in parent_errors


def test_a_program_started_by_hand_runs_on():
    parent, _ = start("hand", 1)
    parent.kill()
    started = time.monotonic()
    assert parent.communicate(timeout=20)[1] == ""
    assert time.monotonic() - started > 0.5


def test_no_test_waits_for_ever(monkeypatch):
    """subprocess here is that of conftest.py."""
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(subprocess.Popen, "seconds", 0.1)
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(command)
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.Popen(command, stdout=subprocess.PIPE).communicate()
    sleeper = subprocess.Popen(command)
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait()
    monkeypatch.undo()
    assert sleeper.wait() == -signal.SIGKILL
