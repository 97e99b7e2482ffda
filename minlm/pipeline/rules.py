"""Plain Python behind the Snakefile. Imported by every call of `snakemake`, so nothing heavy."""

import fcntl
import glob
import hashlib
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from minlm.errors import MinlmError

CACHED_CODE = ("corpus", "tokenization", "scripts")  # the packages behind the rules with `cache`

_held: list[IO[str]] = []  # open files whose locks last as long as this process


def use_this_python(checkout: str) -> None:
    """Make the `python -m minlm.scripts.X` of the rules find this interpreter and this checkout.

    So `.venv/bin/snakemake` works without activating `.venv`, and a rule's conda environment (which goes before
    ours on the PATH) need not have minlm itself.
    """
    for variable, first in {"PATH": Path(sys.executable).parent, "PYTHONPATH": checkout}.items():
        rest = os.environ.get(variable)
        os.environ[variable] = f"{first}{os.pathsep}{rest}" if rest else str(first)


def cache_for_this_code(checkout: str) -> None:
    """Give each version of our code a folder of its own in Snakemake's cache between workflows, if one is in use.

    Snakemake knows a cached file by the commands and the params that made it; the programs behind the commands are
    ours to add, or a checkout would be handed what older code has made.
    """
    location = os.environ.get("SNAKEMAKE_OUTPUT_CACHE")
    if not location:
        return
    sources = sorted(Path(checkout, "minlm").glob("*.py"))
    sources += sorted(path for part in CACHED_CODE for path in Path(checkout, "minlm", part).rglob("*.py"))
    digest = hashlib.sha256()
    for path in sources:
        digest.update(f"{path.relative_to(checkout)}\0".encode() + path.read_bytes())
    version = f"code-{digest.hexdigest()[:16]}"
    if os.path.basename(location) == version:  # a job on a cluster inherits it from the main process
        return
    os.environ["SNAKEMAKE_OUTPUT_CACHE"] = location = f"{location.rstrip('/')}/{version}"
    if "://" not in location:
        Path(location).mkdir(parents=True, exist_ok=True)


def flags(values: Mapping[str, Any], *names: str) -> str:
    """Command line flags for the named values (default: all), quoted for the shell.

    True is a bare flag; False, None and empty lists are left out; a list is one flag with several words.
    """
    words = []
    for name in names or values:
        value = values[name]
        if value is None or value is False or value == []:
            continue
        words.append(f"--{name}")
        if value is not True:
            words += [shlex.quote(str(item)) for item in (value if isinstance(value, list) else [value])]
    return " ".join(words)


def any_of(words: Iterable[str]) -> str:
    """A regular expression for exactly these words."""
    return f"({'|'.join(map(re.escape, sorted(words)))})"


def expand_globs(patterns: Iterable[str]) -> list[str]:
    """The files behind the glob patterns, sorted, each once."""
    return sorted({path for pattern in patterns for path in glob.glob(pattern, recursive=True)})


def lock_folder(path: str = ".snakemake/minlm.lock") -> None:
    """Let one workflow at a time work in this folder, until this process ends.

    Snakemake's own lock outlives a killed process and then wants `--unlock`; the operating system drops this one
    with the process, so that after a crash the next call just works.

    Raises:
        MinlmError: another workflow holds it.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    _held.append(open(path, "w"))  # noqa: SIM115 (stays open until the process ends)
    try:
        fcntl.flock(_held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise MinlmError("another snakemake is working in this folder. Wait for it to end, or stop it.") from None
