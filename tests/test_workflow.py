"""The plain Python behind the Snakefile."""

import shlex

import pytest

from minlm.errors import MinlmError
from minlm.workflow import expand_globs, flags, kept_books, lock_folder


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
