"""Where compiled kernels are kept, and what happens without such a place or without numba; all in other processes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minlm

ANNOUNCEMENT = "compiling the tokenizer's kernels"
ONE_KERNEL = """
import numpy as np
from minlm.progress import configure
configure()
from minlm.fast.tokenization.kernels.word_table import same_bytes
text = np.arange(9, dtype=np.uint8)
assert same_bytes(text, 1, text, 1, 5) and not same_bytes(text, 1, text, 2, 5)
assert same_bytes(text, 1, text, 1, 5)
"""


@pytest.fixture
def package(tmp_path) -> Path:
    """A copy of minlm without compiled kernels; its folder, to be changed."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(Path(minlm.__file__).parent, tmp_path / "code" / "minlm", ignore=ignored))


def run(package: Path, program: str, *arguments, **environment) -> str:
    """What a program prints to stderr."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA", "XDG"))}
    made = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False,
        env=variables | {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"} | environment,
        cwd=package.parent,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return made.stderr


def test_kernels_are_kept_beside_their_source(package):
    assert run(package, ONE_KERNEL).count(ANNOUNCEMENT) == 1
    (kept,) = (package / "tokenization" / "kernels" / "__pycache__").glob("kernels-*")
    assert list(kept.rglob("*.nbi"))
    assert run(package, ONE_KERNEL) == ""  # nothing is compiled the second time
    with open(package / "tokenization" / "kernels" / "counting.py", "a") as file:
        file.write("# another source\n")
    assert "once on this machine" in run(package, ONE_KERNEL)
    assert not kept.exists()


def test_kernels_are_kept_in_the_users_folder(package, tmp_path):
    (package / "tokenization" / "kernels" / "__pycache__").touch()  # no folder can be made there
    assert "once on this machine" in run(package, ONE_KERNEL, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert list((tmp_path / "cache" / "minlm").rglob("*.nbi"))
    assert run(package, ONE_KERNEL, XDG_CACHE_HOME=str(tmp_path / "cache")) == ""
    assert "once on this machine" in run(package, ONE_KERNEL, HOME=str(tmp_path / "home"))
    assert list((tmp_path / "home" / ".cache" / "minlm").rglob("*.nbi"))


def test_no_folder_for_kernels(package, tmp_path):
    (package / "tokenization" / "kernels" / "__pycache__").touch()
    (tmp_path / "file").touch()
    places = {"HOME": str(tmp_path / "file"), "XDG_CACHE_HOME": str(tmp_path / "file" / "cache")}
    (line,) = run(package, ONE_KERNEL, **places).splitlines()
    assert line.startswith(f"{ANNOUNCEMENT} for this process alone: ")
    assert "NUMBA_CACHE_DIR names another" in line


def test_numbas_own_variable_names_the_folder(package, tmp_path):
    run(package, ONE_KERNEL, NUMBA_CACHE_DIR=str(tmp_path / "numba"))
    assert list((tmp_path / "numba").rglob("*.nbi"))
    assert not (package / "tokenization" / "kernels" / "__pycache__").exists()
    assert run(package, ONE_KERNEL, NUMBA_CACHE_DIR=str(tmp_path / "numba")) == ""


@pytest.fixture
def without_numba(package):
    """As on a machine for which numba is not made."""
    (package.parent / "numba").mkdir()
    (package.parent / "numba" / "__init__.py").write_text("raise ImportError('numba is not made for this machine')\n")
    return package


def program(name: str) -> str:
    return f"import sys; from minlm.scripts.{name} import main; main(sys.argv[1:])"


def test_without_numba_the_error_names_what_to_do(without_numba, tmp_path):
    (tmp_path / "a.txt").write_text("a text", "utf-8")
    arguments = ["--inputs", tmp_path / "a.txt", "--output", tmp_path / "a.npz"]
    with pytest.raises(AssertionError) as failure:
        run(without_numba, program("count_words"), *arguments)
    (line,) = str(failure.value).splitlines()[:1]
    assert "numba is not made for this machine" in line
    assert "--backend python" in line
    assert "Traceback" not in str(failure.value)
    assert not (tmp_path / "a.npz").exists()


def test_without_numba_all_works_in_plain_python(without_numba, trained, trained_files, bible, bible_file, tmp_path):
    plain = ["--backend", "python"]
    run(without_numba, program("count_words"), "--inputs", bible_file, "--output", tmp_path / "a.npz", *plain)
    flags = ["--vocab_size", 1000, "--output_dir", tmp_path, "--prefix", "", *plain]
    run(without_numba, program("train_tokenizer"), tmp_path / "a.npz", *flags)
    for path in trained_files:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    files = ["--vocab_path", tmp_path / "vocab.json", "--merges_path", tmp_path / "merges.txt"]
    run(without_numba, program("tokenize"), "--inputs", bible_file, "--output_dir", tmp_path, *files, *plain)
    assert np.load(tmp_path / "train.npy").tolist() == trained.encode(bible)
