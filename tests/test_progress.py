"""Progress as lines without a terminal and as a bar at one, and one-line errors."""

import os
import pty
import re
import subprocess
import sys
import termios

import pytest

from minlm import progress
from minlm.errors import MinlmError
from minlm.scripts import cli

WORK = """
import time
from minlm import progress
progress.SECONDS_BETWEEN_LINES = 0.05
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


def test_a_bar_at_a_terminal_and_lines_in_the_log(tmp_path):
    main, side = pty.openpty()
    termios.tcsetwinsize(side, (24, 100))
    process = subprocess.Popen([sys.executable, "-c", WORK], cwd=tmp_path, stderr=side)
    os.close(side)
    shown = b""
    while True:
        try:
            block = os.read(main, 4096)
        except OSError:  # the other side is closed
            break
        if not block:
            break
        shown += block
    assert process.wait() == 0
    assert b"reading a.txt:" in shown
    assert b"80% reading a.txt: 4 of 5 MB" in shown
    assert b"\r" in shown
    assert shown.count(b"\n") == 1  # the plain lines go to the log only
    assert "5 of 5 MB" in (tmp_path / "logs/x.log").read_text()


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
