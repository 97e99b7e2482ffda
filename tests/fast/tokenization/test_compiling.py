"""Where compiled kernels are kept, and what happens without such a place or without numba; all in other processes."""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import minlm
from minlm.fast.tokenization.kernels import cache

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
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300,
        env=variables | {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"} | environment,
        cwd=package.parent,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return made.stderr


def kept(folder: Path) -> list[Path]:
    """The folders with kernels in a cache."""
    return [path for path in folder.glob("minlm/compiled-*") if list(path.glob("*.nbi"))]


def test_kernels_are_kept_by_content_for_all_checkouts(package, tmp_path):
    """Nor do versions delete each other's; what older versions kept in the checkout does no harm."""
    old = package / "fast" / "tokenization" / "kernels" / "__pycache__" / "kernels-0123456789abcdef"
    old.mkdir(parents=True)
    (old / "word_table.same_bytes.nbi").write_bytes(b"of old")
    home = {"HOME": str(tmp_path)}
    another = Path(shutil.copytree(package, tmp_path / "another" / "minlm"))
    with open(another / "fast" / "tokenization" / "kernels" / "counting.py", "a") as file:
        file.write("# another source\n")
    assert run(package, ONE_KERNEL, **home).count(f"{ANNOUNCEMENT} once on this machine") == 1
    assert run(another, ONE_KERNEL, **home).count(ANNOUNCEMENT) == 1
    moved = package.rename(tmp_path / "minlm")
    for path in moved.rglob("*.py"):
        path.touch()
    assert run(moved, ONE_KERNEL, **home) == run(another, ONE_KERNEL, **home) == ""
    cache = tmp_path / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    assert len(kept(cache)) == 2


def test_a_folder_of_ones_own(package, tmp_path):
    assert ANNOUNCEMENT in run(package, ONE_KERNEL, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert len(kept(tmp_path / "cache")) == 1
    named = {"NUMBA_CACHE_DIR": str(tmp_path / "numba"), "HOME": str(tmp_path)}
    assert ANNOUNCEMENT in run(package, ONE_KERNEL, **named)
    assert list((tmp_path / "numba").glob("compiled-*/*.nbi"))
    assert not (tmp_path / ".cache").exists()
    assert run(package, ONE_KERNEL, **named) == ""


def test_without_a_home_kernels_are_temporary(package, tmp_path):
    (tmp_path / "tmp").mkdir()
    places = {"HOME": str(tmp_path / "none"), "TMPDIR": str(tmp_path / "tmp")}
    (line,) = run(package, ONE_KERNEL, **places).splitlines()
    assert line.startswith(f"{ANNOUNCEMENT} for {tmp_path}/tmp/minlm-")
    assert run(package, ONE_KERNEL, **places) == ""
    assert not (tmp_path / "none").exists()
    (folder,) = (tmp_path / "tmp").glob("minlm-*")
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o777)  # now others could put machine code there
    assert f"{ANNOUNCEMENT} for this process alone: no folder" in run(package, ONE_KERNEL, **places)


def test_no_folder_for_kernels(package, tmp_path):
    (tmp_path / "file").touch()
    (line,) = run(package, ONE_KERNEL, NUMBA_CACHE_DIR=str(tmp_path / "file" / "cache")).splitlines()
    assert line.startswith(f"{ANNOUNCEMENT} for this process alone: ")
    assert "set NUMBA_CACHE_DIR" in line


def test_damaged_kernels_are_compiled_again(package, tmp_path):
    place = {"XDG_CACHE_HOME": str(tmp_path)}
    run(package, ONE_KERNEL, **place)
    (folder,) = kept(tmp_path)
    for pattern, damaged in (("*.nbi", b""), ("*.nbc", b"PK\x03\x04")):
        for path in folder.glob(pattern):
            path.write_bytes(damaged)
        assert run(package, ONE_KERNEL, **place).count(ANNOUNCEMENT) == 1
        assert run(package, ONE_KERNEL, **place) == ""


def test_processes_that_need_kernels_at_once_compile_them_once(package, tmp_path):
    program = ONE_KERNEL.replace(
        "assert", "from minlm.fast.tokenization.kernels.compiler import compile_all\nassert", 1
    )
    program = program.replace("assert", "compile_all(lambda: same_bytes(text, 1, text, 1, 5))\nassert", 1)
    with ThreadPoolExecutor(3) as pool:
        said = list(pool.map(lambda _: run(package, program, XDG_CACHE_HOME=str(tmp_path)), range(3)))
    assert sorted(text.count(ANNOUNCEMENT) for text in said) == [0, 0, 1]


def test_kernels_that_nobody_uses_go(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    ages = {"compiled-used": 59, "compiled-unused": 61, "compiled-interrupted": 61, "other": 999}
    for name, days in ages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.nbi").touch()
        marked = tmp_path / name
        if name != "compiled-interrupted":
            marked = marked / cache.COMPLETE
            marked.touch()
        os.utime(marked, (time.time() - days * 86400,) * 2)
    folder = cache.find_folder.__wrapped__()
    assert {path.name for path in tmp_path.iterdir()} == {"compiled-used", "other", folder.name}


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
    arguments = ["--inputs", tmp_path / "a.txt", "--output", tmp_path / "a.npz", "--backend", "numba"]
    with pytest.raises(AssertionError) as failure:
        run(without_numba, program("count_words"), *arguments)
    (line,) = str(failure.value).splitlines()[:1]
    assert "numba is not made for this machine" in line
    assert "--backend python" in line
    assert "Traceback" not in str(failure.value)
    assert not (tmp_path / "a.npz").exists()


@pytest.mark.parametrize("backend", [["--backend", "python"], []])
def test_without_kernels_little_text_is_tokenized_in_plain_python(
    without_numba, trained, trained_files, bible, bible_file, tmp_path, backend
):
    """Asked for, or because it is quicker than to compile kernels; numba could not be imported here."""
    home = {"HOME": str(tmp_path)}
    flags = ["--inputs", bible_file, "--output", tmp_path / "a.npz", *backend]
    said = run(without_numba, program("count_words"), *flags, **home)
    assert said.count("tokenizing in plain Python") == (not backend)
    flags = [tmp_path / "a.npz", "--vocab_size", 1000, "--output_dir", tmp_path, "--prefix", "", *backend]
    run(without_numba, program("train_tokenizer"), *flags, **home)
    for path in trained_files:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    files = ["--vocab_path", tmp_path / "vocab.json", "--merges_path", tmp_path / "merges.txt"]
    flags = ["--inputs", bible_file, "--output_dir", tmp_path, *files, *backend]
    assert run(without_numba, program("tokenize"), *flags, **home).count("in plain Python") == (not backend)
    assert np.load(tmp_path / "train.npy").tolist() == trained.encode(bible)


def test_a_short_string_compiles_nothing(package, tmp_path):
    program = (
        "import sys; from minlm.tokenization import BPETokenizer as T; t = T({i: bytes([i]) for i in range(256)}, [])\n"
        "assert t.encode('hi') == [104, 105] and list(t.encode_iterable(['h', 'i'])) == [104, 105]\n"
        "assert 'numba' not in sys.modules"
    )
    assert run(package, program, HOME=str(tmp_path)) == ""
