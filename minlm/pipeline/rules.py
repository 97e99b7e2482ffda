"""Plain Python behind the Snakefile. Imported by every call of `snakemake`, so nothing heavy."""

import csv
import glob
import hashlib
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from minlm.cores import available_memory
from minlm.errors import MinlmError
from minlm.locks import open_locked
from minlm.reading import quote, reading

# What the shell command of each job begins with: `job WORDS … LOG_FILE` becomes the program, so that signals and the
# exit status are the program's own, and copies to the log file all that comes out of it, of its child processes and
# of the shell: import errors, crashes, prints. Messages and bars of ours are written by minlm/progress.py: to the
# log with the time, to the terminal as they are. The way to the terminal is stdin, because torchrun passes on no
# other open file. `tee` outlives all signals and ends with the last process that writes to it.
JOB = """\
set -euo pipefail
job() {
    : > "${!#}"
    export MINLM_JOB=1 PYTHONUNBUFFERED=1
    exec 0>&2 2> >(trap '' HUP INT TERM; exec tee -a "${!#}" >&2) 1>&2
    exec "$@"
}
"""

# The folders that the rules with `cache` run.
CACHED_CODE = ("bulk", "corpus", "fast/tokenization", "pipeline", "scripts", "tokenization")
GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA's, AMD's, those of Windows

_held: list[IO[str]] = []  # open files whose locks last as long as this process


def use_this_python(checkout: str) -> None:
    """Make the `python -m minlm.scripts.X` of the rules find this interpreter and this checkout.

    So `.venv/bin/snakemake` works without activating `.venv`, and a rule's conda environment (which goes before
    ours on the PATH) need not have minlm itself.

    Raises:
        MinlmError: the folder's name has a character that Snakemake or these variables take for something of theirs.
    """
    if odd := sorted(set("{}" + os.pathsep) & set(checkout)):
        raise MinlmError(
            f"{checkout}: the workflow cannot run in a folder with {' '.join(odd)} in its name. Rename it."
        )
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
    for folder in CACHED_CODE:
        sources += sorted(
            path for path in Path(checkout, "minlm", folder).rglob("*") if path.suffix in (".py", ".yaml")
        )
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
    """Command-line flags for the named values (default: all), quoted for the shell.

    Each is `--name=value`, once for each item of a list: in this form, no value is taken for a flag. None and empty
    lists are left out.
    """
    words: list[str] = []
    for name in names or values:
        value = values[name]
        for item in value if isinstance(value, list) else [] if value is None else [value]:
            words.append(f"--{name}={str(item).lower() if isinstance(item, bool) else item}")
    return shlex.join(words)


def any_of(words: Iterable[str]) -> str:
    """A regular expression for exactly these words."""
    return f"({'|'.join(map(re.escape, sorted(words)))})"


def expand_globs(patterns: Iterable[str]) -> list[str]:
    """The files that match the glob patterns, sorted, each once."""
    return sorted({path for pattern in patterns for path in glob.glob(pattern, recursive=True)})


def link_target(source: str, link: str) -> str:
    """What a symbolic link at `link` holds to lead to `source`: a path from the link's own folder."""
    return os.path.relpath(source, os.path.realpath(os.path.dirname(link)))


def kept_books(selection: str | Path) -> list[str]:
    """The ids of the books that a selection.csv keeps.

    Raises:
        MinlmError: it is damaged.
    """
    with (
        reading(selection, "a table of books", "Delete it; the next call makes it again."),
        open(selection, encoding="utf-8", newline="") as table,
    ):
        ids = [row["gutenberg_id"] for row in csv.DictReader(table) if row["kept"] == "yes"]
        if odd := [number for number in ids if not re.fullmatch("[0-9]+", number)]:
            raise ValueError(f"{quote(odd[0])} is no number of a book")
        return ids


def has_gpu() -> bool:
    """Whether this machine seems to have a GPU. Only torch knows, but it takes seconds to import."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return any(map(os.path.exists, GPUS)) or (sys.platform, platform.machine()) == ("darwin", "arm64")


def share_cores(cores: int, jobs: int, memory: int) -> int:
    """The cores for each of several jobs that share them: small models train faster side by side with a thread each.

    Args:
        cores: that there are.
        jobs: to run.
        memory: bytes that a job takes; no more jobs run at once than there is room for.
    """
    room = max(1, available_memory() // memory)
    each = cores // max(1, min(jobs, cores, room))
    return each + 1 if min(jobs, cores // each) > room else each


def training_memory(run: Mapping[str, Any]) -> int:
    """Bytes that training takes on a CPU: more rather than less, see docs/performance.md.

    Weights, gradients and two moments; what each layer keeps for the backward pass; and half a GB for Python and torch.
    """
    model, training = run["model"], run["training"]
    width, inner, layers = model["d_model"], model["d_ff"], model["num_layers"]
    parameters = 2 * run["tokenizer"]["vocab_size"] * width + layers * (4 * width**2 + 3 * width * inner)
    tokens = training["batch_size"] * model["context_length"] // training["grad_accum_steps"]
    kept = 16 * width + 5 * inner + 3 * model["num_heads"] * model["context_length"]
    return 16 * parameters + 4 * tokens * layers * kept + 500_000_000


def lock_folder(path: str = ".snakemake/minlm.lock") -> None:
    """Let one workflow at a time work in this folder, until this process ends.

    Snakemake's own lock outlives a killed process and then wants `--unlock`; the operating system drops this one
    with the process, so that after a crash the next call just works.

    Raises:
        MinlmError: another workflow holds it.
    """
    busy = "another snakemake is working in this folder. Wait for it to end, or stop it."
    _held.append(open_locked(path, "a", busy=busy, wait=False))
