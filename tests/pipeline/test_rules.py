"""What the rules call, and the shell function that starts each job."""

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import termios
from contextlib import suppress
from types import SimpleNamespace

import pytest

from minlm.errors import MinlmError
from minlm.pipeline.rules import (
    JOB_FUNCTION,
    changed_flags,
    expand_globs,
    flags,
    kept_books,
    link_target,
    lock_folder,
    use_this_python,
)


def test_flags_survive_the_shell():
    values = {"a": 3, "b": True, "c": False, "d": None, "e": [], "f": ["it's", "", "$HOME `x`", 2], "g": 1e-4}
    assert shlex.split(flags(values)) == [
        "--a=3", "--b=true", "--c=false", "--f=it's", "--f=", "--f=$HOME `x`", "--f=2", "--g=0.0001",
    ]  # fmt: skip
    assert flags(values, "g", "a") == "--g=0.0001 --a=3"
    assert flags(values, "d", "e") == ""


def test_globs_are_sorted_and_each_file_comes_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("b.txt", "a.txt", "sub/c.txt", "d.md"):
        (tmp_path / name).write_text("x")
    assert expand_globs(["*.txt", "a.*", "**/*.txt"]) == ["a.txt", "b.txt", "sub/c.txt"]


def test_a_link_leads_to_its_source_even_out_of_a_folder_that_is_a_link_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("results", "elsewhere/deep/down"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "results/experiments").symlink_to(tmp_path / "elsewhere/deep/down")
    (tmp_path / "results/model.pt").write_text("the model")
    os.symlink(link_target("results/model.pt", "results/experiments/model.pt"), "results/experiments/model.pt")
    assert (tmp_path / "results/experiments/model.pt").read_text() == "the model"
    assert link_target("results/model.pt", "results/plots/model.pt") == "../model.pt"


@pytest.mark.parametrize("name", ["a{b}", "a:b"])
def test_folders_in_which_snakemake_cannot_work(name):
    with pytest.raises(MinlmError, match="Rename it"):
        use_this_python(f"/tmp/{name}")


def test_the_kept_books_of_a_selection(tmp_path):
    path = tmp_path / "selection.csv"
    path.write_text("gutenberg_id,title,kept\n12,a,yes\n3,b,no\n4,c,yes\n")
    assert kept_books(path) == ["12", "4"]
    for odd in ("gutenberg_id,title\n12,a\n", "gutenberg_id,kept\n../../12,yes\n", "gutenberg_id,kept\n,yes\n"):
        path.write_text(odd)
        with pytest.raises(MinlmError, match=r"selection\.csv is not a table of books, or is damaged"):
            kept_books(path)


def test_a_second_lock_on_the_same_folder_is_refused(tmp_path):
    lock_folder(str(tmp_path / "locks/one"))
    with pytest.raises(MinlmError, match="another snakemake"):
        lock_folder(str(tmp_path / "locks/one"))
    lock_folder(str(tmp_path / "locks/two"))


@pytest.fixture
def job(tmp_path):
    """Return a function that starts `job WORDS logs/a.log` as Snakemake does and returns the process."""

    def start(*words, **how):
        (tmp_path / "logs").mkdir()
        command = f"{JOB_FUNCTION} job {shlex.join([*words, str(tmp_path / 'logs/a.log')])}"
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(["bash", "-c", command], env=environment, cwd=tmp_path, **{**pipe, **how})

    return start


def script(folder, text, name="broken"):
    (folder / f"{name}.py").write_text(text)
    return sys.executable, "-m", name


BY_HAND = """
import sys
from minlm.progress import log
from minlm.scripts import cli
def main(argv):
    parser = cli.make_parser("tool", "Does.", "tool")
    parser.add_argument("log")
    cli.run(parser, work, ["--log_file", argv[0], argv[0]])
def work(arguments):
    log.info("a message")
    print("a print")
    print("a warning", file=sys.stderr)
    ENDING
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("ending", "status", "last"),
    [
        ("pass", 0, "a warning"),
        ("raise ValueError('an accident')", 1, "ValueError: an accident"),
        ("import no_such_module", 1, "No module named 'no_such_module'"),
        ("import faulthandler as f, ctypes; f.enable(); ctypes.string_at(0)", -signal.SIGSEGV, "Segmentation"),
        ("import os; os.system('echo a child >&2')", 0, "a child"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, "a warning"),
    ],
)  # fmt: skip
def test_all_that_a_job_prints_is_in_its_log_and_on_the_terminal_once(job, tmp_path, ending, status, last):
    process = job(*script(tmp_path, BY_HAND.replace("ENDING", ending)))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status
    log = (tmp_path / "logs/a.log").read_text()
    for text in ("a message", "a print", "a warning", last):
        assert text in log
        assert text in output
    assert re.search(r"^\d\d:\d\d:\d\d a message$", log, re.M)
    assert log.count("a message") == output.count("a message") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((sys.executable, "-m", "minlm.scripts.no_such_script"), "No module named minlm.scripts.no_such_script"),
        (("no-such-python", "-m", "minlm"), "no-such-python"),
    ],
)
def test_a_program_that_cannot_start_says_so_in_the_log(job, tmp_path, words, message):
    output, _ = job(*words).communicate(timeout=60)
    assert message in output
    assert message in (tmp_path / "logs/a.log").read_text()


def test_a_broken_module_is_in_the_log(job, tmp_path):
    output, _ = job(*script(tmp_path, "def f(:\n")).communicate(timeout=60)
    assert "SyntaxError" in output
    assert "SyntaxError" in (tmp_path / "logs/a.log").read_text()


def test_the_crash_of_one_of_several_processes_is_in_the_log(job, tmp_path):
    rank = (
        "import os, sys\nif os.environ['RANK'] == '1': sys.exit('rank 1 has no memory')\nimport time; time.sleep(60)\n"
    )
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "broken")
    script(tmp_path, rank)
    process = job(*torchrun)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    log = (tmp_path / "logs/a.log").read_text()
    assert "rank 1 has no memory" in output
    assert "rank 1 has no memory" in log
    assert "ChildFailedError" in log  # from torchrun itself


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_program_and_what_it_then_says_the_log(job, tmp_path, number):
    work = """
import signal, sys, time
def stop(number, frame):
    print("saving")
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
print("ready")
time.sleep(60)
"""
    process = job(*script(tmp_path, work), start_new_session=True)
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, number)  # as Ctrl-C and scancel do: `tee` receives it too
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 7
    assert "saving" in output
    assert "saving" in (tmp_path / "logs/a.log").read_text()


def test_bars_at_a_terminal_are_not_in_the_log(job, tmp_path):
    work = """
import sys, time
from minlm import progress
progress.configure(sys.argv[1])
with progress.Progress(10, "reading", "steps") as bar:
    for _ in range(10):
        time.sleep(0.03)
        bar.update(1)
progress.log.info("done")
print("a print")
"""
    main, side = pty.openpty()
    termios.tcsetwinsize(side, (24, 100))
    process = job(*script(tmp_path, work), stdout=side, stderr=side)
    os.close(side)
    shown = b""
    with suppress(OSError):  # the other side is closed
        while block := os.read(main, 4096):
            shown += block
    assert process.wait(60) == 0
    log = (tmp_path / "logs/a.log").read_text()
    assert b"reading:" in shown
    assert b"\r" in shown
    assert b"done" in shown
    assert b"a print" in shown
    assert "done" in log
    assert "a print" in log
    assert "\r" not in log
    assert "reading" not in log


def test_changed_flags_names_what_is_different():
    change = SimpleNamespace(only_old={"'--d_model=128 --num_layers=2'"}, only_new={"'--d_model=192 --num_layers=2'"})
    assert changed_flags(change) == ["d_model 128 → 192"]
    assert changed_flags(None) == []
