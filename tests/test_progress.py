"""Progress as lines without a terminal and as a bar at one, and one-line errors."""

import os
import pty
import re
import subprocess
import sys
import termios
from contextlib import suppress
from itertools import pairwise

import pytest

from minlm import progress
from minlm.errors import MinlmError
from minlm.scripts import cli

WORK = """
import time
from minlm import progress
progress.SECONDS_BETWEEN_LINES = 0.05
progress.SECONDS_BETWEEN_BARS = 0
progress.configure(log_file="logs/x.log")
with progress.Progress(5_000_000, "reading a.txt", "B") as bar:
    for _ in range(5):
        time.sleep(0.06)
        bar.update(1_000_000, "loss 2.5")
progress.log.info("done")
"""


def test_lines_without_a_terminal(tmp_path):
    result = subprocess.run([sys.executable, "-c", WORK], cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = result.stderr.splitlines()
    assert re.fullmatch(r"reading a\.txt: 1 of 5 MB, 0\.\d s left, loss 2\.5, [\d.]+ MB/s", lines[0])
    assert lines[-1] == "done"
    assert "\r" not in result.stderr
    assert "reading a.txt: 5 of 5 MB" in (tmp_path / "logs/x.log").read_text()


def test_unknown_total(tmp_path):
    work = WORK.replace("5_000_000", "0")
    result = subprocess.run([sys.executable, "-c", work], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stderr.splitlines()[0] == "reading a.txt: 1 MB, loss 2.5"


def at_a_terminal(processes):
    """What the processes write to one terminal; `processes` starts them with its file descriptor."""
    main, side = pty.openpty()
    termios.tcsetwinsize(side, (24, 100))
    started = processes(side)
    os.close(side)
    shown = b""
    with suppress(OSError):  # the other side is closed
        while block := os.read(main, 4096):
            shown += block
    assert [process.wait() for process in started] == [0] * len(started)
    return shown.decode()


def test_a_bar_at_a_terminal_and_lines_in_the_log(tmp_path):
    shown = at_a_terminal(lambda side: [subprocess.Popen([sys.executable, "-c", WORK], cwd=tmp_path, stderr=side)])
    assert "80% reading a.txt: 4 of 5 MB" in shown
    assert shown.count("\n") == 1  # the plain lines go to the log only
    assert "5 of 5 MB" in (tmp_path / "logs/x.log").read_text()


JOBS = """
import sys, time
from minlm import progress
progress.SECONDS_BETWEEN_BARS = 0
progress.configure(f"logs/experiments/{sys.argv[1]}/x.log")
with progress.Progress(300, "training", "steps") as bar:
    for step in range(300):
        time.sleep(0.002)
        bar.update(1)
        if step % 20 == 0:
            progress.log.info(f"step {step}")
progress.log.warning("warning: hot")
progress.summarize("wrote x")
"""


def test_bars_and_lines_of_jobs_side_by_side_do_not_mix(tmp_path):
    """On the screen, each line is one message of one job; bars are shown by one job at a time and leave nothing."""
    names = ("small", "large")
    variables = {**os.environ, "MINLM_JOB": "1", progress.SUMMARIES: "1", progress.BAR_LOCK: str(tmp_path / "bar")}

    def start(side):
        return [
            subprocess.Popen(
                [sys.executable, "-c", JOBS, name],
                cwd=tmp_path, stdin=side, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=variables,
            )
            for name in names
        ]  # fmt: skip

    shown = at_a_terminal(start)
    *lines, rest = [line.rpartition(progress.CLEAR)[2] for line in shown.split("\r\n")]
    expected = [*(f"step {step}" for step in range(0, 300, 20)), "warning: hot"]  # snakemake's line has the summary
    for name in names:
        assert [line for line in lines if line.startswith(name)] == [f"{name}: {text}" for text in expected]
    assert len(lines) == 2 * len(expected)
    assert rest == ""
    bars = re.findall(r"% (\w+): training: (\d+) of 300 steps", shown)
    assert {int(step) for _, step in bars} > {100, 200}
    owners = [name for name, _ in bars]
    assert sum(first != second for first, second in pairwise(owners)) <= 1


FORECAST = """
import time
from minlm import progress
progress.SECONDS_BEFORE_FORECAST = 0.2
progress.configure()
with progress.Progress({total}, "training", "steps") as bar:
    for _ in range(10):
        time.sleep(0.05)
        bar.update(1)
"""


@pytest.mark.parametrize(("total", "expected"), [(100_000, 1), (100, 0)])
def test_after_the_first_steps_the_time_to_the_end_of_long_work(tmp_path, total, expected):
    """100,000 steps of at least 0.05 s take 1 h 23 min or, on a busy machine, longer; 100 steps, no minute."""
    work = ["-c", FORECAST.format(total=total)]
    shown = at_a_terminal(lambda side: [subprocess.Popen([sys.executable, *work], stderr=side)])
    lines = re.findall(r"training: about (\d+) h(?: (\d+) min)? to the end, at [\d.]+ steps/s\r\n", shown)
    assert len(lines) == expected
    assert all(60 * int(hours) + int(minutes or 0) >= 82 for hours, minutes in lines)


def run(work, *flags):
    parser = cli.make_parser("tool", "Does something.", "tool --log_file a.log")
    return cli.run(parser, work, flags)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (MinlmError("a.txt: bad byte"), 1, "tool: error: a.txt: bad byte"),
        (
            FileNotFoundError(2, "No such file or directory", "b.txt"),
            1,
            "tool: error: b.txt: No such file or directory",
        ),
        (KeyboardInterrupt(), 130, "tool: interrupted"),
    ],
)
def test_errors_are_one_line_and_a_status(error, status, line, capfd, tmp_path):
    def work(arguments):
        raise error

    with pytest.raises(SystemExit) as caught:
        run(work, "--log_file", str(tmp_path / "a.log"))
    assert caught.value.code == status
    assert capfd.readouterr().err == line + "\n"
    assert line in (tmp_path / "a.log").read_text()


def test_a_bug_shows_its_traceback(capfd):
    with pytest.raises(SystemExit) as caught:
        run(lambda arguments: 1 / 0)
    assert caught.value.code == 1
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_log_file_that_cannot_be_written_is_named(capfd, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit):
        run(lambda arguments: None, "--log_file", str(tmp_path / "file/a.log"))
    assert str(tmp_path / "file") in capfd.readouterr().err


@pytest.fixture(autouse=True)
def _fresh_logging():
    yield
    progress.configure()
