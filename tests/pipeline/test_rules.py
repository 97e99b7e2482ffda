"""The plain Python behind the Snakefile."""

import shlex

import pytest

from minlm.errors import MinlmError
from minlm.pipeline.rules import expand_globs, flags, lock_folder


def test_flags_survive_the_shell():
    values = {"a": 3, "b": True, "c": False, "d": None, "e": [], "f": ["it's", "", "$HOME `x`", 2], "g": 1e-4}
    assert shlex.split(flags(values)) == [
        "--a", "3", "--b", "--f", "it's", "", "$HOME `x`", "2", "--g", "0.0001",
    ]  # fmt: skip
    assert flags(values, "g", "a") == "--g 0.0001 --a 3"
    assert flags(values, "c", "d") == ""


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
