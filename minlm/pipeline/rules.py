"""What the rules call. Every call of `snakemake` imports this module, so it imports nothing heavy."""

import csv
import hashlib
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import yaml

from minlm.errors import MinlmError
from minlm.globs import matching_files
from minlm.locks import open_locked
from minlm.reading import quote, reading

# The shell function that starts each job. `job WORDS … LOG_FILE` replaces the shell with the program, so the program
# receives the signals and its exit status is the job's. Everything that the program, its child processes and the shell
# print goes to the log file: import errors, crashes, prints. It is also copied to the terminal, unless snakemake itself
# shows there why a job has failed (MINLM_SUMMARIES). minlm/progress.py writes messages and progress bars itself:
# messages to the log, with the time, and both to the terminal. It reaches the terminal through stdin, because torchrun
# passes on no other open file. `tee` ignores signals and ends with the last process that writes to it.
JOB_FUNCTION = """\
set -euo pipefail
job() {
    : > "${!#}"
    export MINLM_JOB=1 PYTHONUNBUFFERED=1
    if [ -n "${MINLM_SUMMARIES:-}" ]; then
        exec 0>&2 2>> "${!#}" 1>&2
    else
        exec 0>&2 2> >(trap '' HUP INT TERM; exec tee -a "${!#}" >&2) 1>&2
    fi
    exec "$@"
}
"""

# The folders that the rules with `cache` run.
CACHED_CODE = ("bulk", "corpus", "fast/tokenization", "pipeline", "scripts", "tokenization")

MODEL_RULES = ("mix", "count_words", "train_tokenizer", "tokenize", "train")  # a model depends on their settings
FLAG = re.compile(r"--(\w+)=([^\s'\"]+)")

_held: list[IO[str]] = []  # locked files that stay open as long as this process


def check_anchors(path: str | Path) -> None:
    """Refuse a configuration in which a YAML anchor contains itself: Snakemake's merge ends in a bare RecursionError.

    Any other problem of the file is left to Snakemake.

    Raises:
        MinlmError: an anchor contains itself.
    """
    try:
        config = yaml.load(Path(path).read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return
    try:
        json.dumps(config, default=str, skipkeys=True)
    except ValueError:
        raise MinlmError(f"{path}: an anchor (&) contains itself. Write its values out.") from None


def use_this_python(checkout: str) -> None:
    """Make `python -m minlm.scripts.X` in the rules find this interpreter and this checkout.

    `.venv/bin/snakemake` then works without activating `.venv`, and a rule's conda environment, which comes first on
    the PATH, does not need minlm itself.

    Raises:
        MinlmError: the folder's name contains a character with a meaning for Snakemake or in PATH.
    """
    if odd := sorted(set("{}" + os.pathsep) & set(checkout)):
        raise MinlmError(
            f"{checkout}: the workflow cannot run in a folder with {' '.join(odd)} in its name. Rename it."
        )
    for variable, first in {"PATH": Path(sys.executable).parent, "PYTHONPATH": checkout}.items():
        rest = os.environ.get(variable)
        os.environ[variable] = f"{first}{os.pathsep}{rest}" if rest else str(first)


def cache_for_this_code() -> None:
    """Use a separate folder for each version of minlm's code in Snakemake's between-workflow cache, if it is in use.

    Snakemake identifies a cached file by its inputs, command and params. It does not see the programs that the command
    calls, so without separate folders a checkout would get results of older code.
    """
    location = os.environ.get("SNAKEMAKE_OUTPUT_CACHE")
    if not location:
        return
    package = Path(__file__).parents[1]
    sources = sorted(package.glob("*.py"))
    for folder in CACHED_CODE:
        sources += sorted(path for path in package.joinpath(folder).rglob("*") if path.suffix in (".py", ".yaml"))
    digest = hashlib.sha256()
    for path in sources:
        digest.update(f"{path.relative_to(package.parent)}\0".encode() + path.read_bytes())
    version = f"code-{digest.hexdigest()[:16]}"
    if os.path.basename(location) == version:  # in a job on a cluster, which inherits the variable
        return
    os.environ["SNAKEMAKE_OUTPUT_CACHE"] = location = f"{location.rstrip('/')}/{version}"
    if "://" not in location:
        Path(location).mkdir(parents=True, exist_ok=True)


def lock_folder(path: str = ".snakemake/minlm.lock") -> None:
    """Lock this folder against other workflows until this process ends.

    Snakemake's own lock outlives a killed process and then asks for `--unlock`. The operating system releases this one
    when the process ends, so after a crash the next call just works.

    Raises:
        MinlmError: another workflow holds the lock.
    """
    busy = "another snakemake is working in this folder. Wait for it to end, or stop it."
    _held.append(open_locked(path, "a", busy=busy, wait=False))


def flags(values: Mapping[str, Any], *names: str) -> str:
    """Return command-line flags for the named values (default: all), quoted for the shell.

    True becomes a bare flag; False, None and empty lists become nothing. Everything else becomes `--name=value`, once
    for each item of a list. In this form, no value can be mistaken for a flag.
    """
    words: list[str] = []
    for name in names or values:
        value = values[name]
        for item in value if isinstance(value, list) else [] if value is None else [value]:
            words.append(f"--{name}={str(item).lower() if isinstance(item, bool) else item}")
    return shlex.join(words)


def unrecorded(value: str) -> Callable[..., str]:
    """Return a param whose changes re-run nothing: Snakemake does not record params that depend on the output."""
    return lambda wildcards, output: value


def kept_models(training: Mapping[str, Any]) -> dict[str, str]:
    """Return the paths, beside the finished model, of the models that a training keeps, by their names."""
    names = [*(str(step) for step in training["keep_checkpoints"]), *(["best"] if training["keep_best"] else [])]
    return {name: f"checkpoints/{f'step-{name}' if name.isdigit() else name}.pt" for name in names}


def torchrun(processes: int) -> str:
    """Return what goes between `python` and `-m SCRIPT` to start the script in several processes."""
    return f"-m torch.distributed.run --standalone --nproc-per-node {processes}" if processes > 1 else ""


def shard_paths(path: str, shards: int) -> list[str]:
    """Return the path itself or, if there are several shards, theirs: data/tokens/train.1-of-4.npy, …"""
    stem, suffix = path.rsplit(".", 1)
    return [f"{stem}.{i}-of-{shards}.{suffix}" for i in range(1, shards + 1)] if shards > 1 else [path]


def shard_flag(shard: str) -> str:
    """Return --shard 2/4 for ".2-of-4", the part of a shard's path that sets it apart; nothing for ""."""
    return f"--shard {shard[1:].replace('-of-', '/')}" if shard else ""


def any_of(words: Iterable[str]) -> str:
    """Return a regular expression that matches exactly these words."""
    return f"({'|'.join(map(re.escape, sorted(words)))})"


def expand_globs(patterns: Iterable[str]) -> list[str]:
    """Return the files that names and glob patterns stand for, sorted and without repetition."""
    return sorted({path for pattern in patterns for path in matching_files(pattern)})


def link_target(source: str, link: str) -> str:
    """Return the content of a symbolic link at `link` that leads to `source`: a path relative to the link's folder."""
    return os.path.relpath(source, os.path.realpath(os.path.dirname(link)))


def kept_books(selection: str | Path) -> list[str]:
    """Return the ids of the books that a selection.csv keeps.

    Raises:
        MinlmError: the file is damaged.
    """
    with (
        reading(selection, "a table of books", "Delete it; the next call makes it again."),
        open(selection, encoding="utf-8", newline="") as table,
    ):
        ids = [row["gutenberg_id"] for row in csv.DictReader(table) if row["kept"] == "yes"]
        if odd := [number for number in ids if not re.fullmatch("[0-9]+", number)]:
            raise ValueError(f"{quote(odd[0])} is not the number of a book")
        return ids


def finished_models(dag: Any) -> list[str]:
    """Return the models whose training Snakemake knows to be finished, in this call or before."""
    trainings = (job for job in dag.jobs if job.rule.name == "train")
    return [str(job.output.model) for job in trainings if dag.noneedrun_finished(job)]


def replaced_models(dag: Any) -> list[str]:
    """Return a note for each finished model that this call trains again with other settings."""
    jobs = [job for job in dag.needrun_jobs() if job.rule.name in MODEL_RULES]
    changes = {job: changed_flags(dag.workflow.persistence.params_changed(job)) for job in jobs}
    of_data = [change for job in jobs if job.rule.name != "train" for change in changes[job]]
    notes = []
    for job in jobs:
        differences = sorted({*of_data, *changes[job]})
        if job.rule.name == "train" and differences and os.path.exists(job.output.model):
            notes.append(
                f"{job.output.model} was trained with other settings and will be replaced ({', '.join(differences)}). "
                "To keep it, stop now and give the new run a name: --config run=NAME"
            )
    return notes


def changed_flags(change: Any) -> list[str]:
    """Return what is different in a job's params, such as "d_model 128 → 192", given Snakemake's `ParamsChange`."""
    if not change:
        return []
    old, new = ({name: value for text in part for name, value in FLAG.findall(str(text))}
                for part in (change.only_old, change.only_new))  # fmt: skip
    return [
        f"{name} {old.get(name, '(none)')} → {new.get(name, '(none)')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
