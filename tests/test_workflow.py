"""The plain Python behind the Snakefile."""

import shlex

import pytest

from minlm import workflow
from minlm.errors import MinlmError
from minlm.workflow import expand_globs, flags, has_gpu, lock_folder, share_cores


def test_flags_survive_the_shell():
    values = {"a": 3, "b": True, "c": False, "d": None, "e": [], "f": ["it's", "", "$HOME `x`", 2], "g": 1e-4}
    assert shlex.split(flags(values)) == [
        "--a", "3", "--b", "--f", "it's", "", "$HOME `x`", "2", "--g", "0.0001",
    ]  # fmt: skip
    assert flags(values, "g", "a") == "--g 0.0001 --a 3"
    assert flags(values, "c", "d") == ""


@pytest.mark.parametrize(
    ("cores", "jobs", "room", "each"),
    [
        (8, 1, 99, 8),
        (8, 0, 99, 8),  # of a rule of which nothing is to run
        (2, 2, 99, 1),
        (2, 6, 99, 1),
        (8, 3, 99, 2),
        (8, 2, 99, 4),
        (8, 6, 2, 4),  # memory for two
        (8, 6, 3, 3),
        (3, 6, 2, 2),
        (8, 6, 0, 8),  # not even for one, so one after the other
        (8, 5, 6, 1),
        (1, 4, 99, 1),
    ],
)
def test_jobs_share_the_cores(monkeypatch, cores, jobs, room, each):
    monkeypatch.setattr(workflow, "available_memory", lambda: room * 1000 + 999)
    assert share_cores(cores, jobs, 1000) == each
    assert min(max(jobs, 1), cores // each) <= max(room, 1)


def test_gpus_are_seen_without_torch(monkeypatch, tmp_path):
    monkeypatch.setattr(workflow, "GPUS", [tmp_path / "nvidiactl"])
    monkeypatch.setattr(workflow.platform, "machine", lambda: "x86_64")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert not has_gpu()
    (tmp_path / "nvidiactl").touch()
    assert has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not has_gpu()


def test_globs_are_sorted_and_each_file_comes_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("b.txt", "a.txt", "sub/c.txt", "d.md"):
        (tmp_path / name).write_text("x")
    assert expand_globs(["*.txt", "a.*", "**/*.txt"]) == ["a.txt", "b.txt", "sub/c.txt"]


def test_a_second_lock_on_the_same_folder_is_refused(tmp_path):
    lock_folder(str(tmp_path / "locks/one"))
    with pytest.raises(MinlmError, match="another snakemake"):
        lock_folder(str(tmp_path / "locks/one"))
    lock_folder(str(tmp_path / "locks/two"))
