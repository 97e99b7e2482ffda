"""Configuration and helper functions. Nothing heavy is imported here: a no-op call must cost nothing."""

import csv
import fcntl
import glob
import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Rules call `python -m minlm.scripts.X`: with the Python that runs Snakemake (a rule's conda environment, where one is
# used, goes before it) and with the package beside this Snakefile, installed or not.
sys.path.insert(0, workflow.basedir)
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [workflow.basedir, os.environ.get("PYTHONPATH")]))

from minlm.config import load_schema, resolve
from minlm.errors import MinlmError

try:
    config = resolve(config, load_schema(Path(workflow.basedir) / "workflow/schemas/config.schema.yaml"))
except MinlmError as error:
    raise WorkflowError(str(error)) from None

CORPUS, ANCIENTS, TOKENIZER = config["corpus"], config["ancients"], config["tokenizer"]
MODEL, TRAINING, SAMPLING = config["model"], config["training"], config["sampling"]

# Settings that change how a rule runs and not what it makes stand in the shell command, not in `params`:
# changing them re-runs nothing.
DELAY = ANCIENTS["request_delay"]
DEVICE = f"--device {TRAINING['device']}" if TRAINING["device"] else ""
WANDB = "--log_to_wandb" if TRAINING["log_to_wandb"] else ""

VOCAB = {"vocab": "data/tokenizer/vocab.json", "merges": "data/tokenizer/merges.txt"}
PLOTS = multiext("results/plots/", "loss_vs_iter.png", "loss_vs_time.png", "speed_vs_iter.png")


def flags(values, *names):
    """Command line flags for the named settings (default: all): true is a bare flag, false and null are left out."""
    words = []
    for name in names or values:
        value = values[name]
        if value is None or value is False or value == []:
            continue
        words.append(f"--{name}")
        if value is not True:
            words += [shlex.quote(str(item)) for item in (value if isinstance(value, list) else [value])]
    return " ".join(words)


def expand_globs(patterns):
    """The files behind a list of globs, sorted, each once."""
    return sorted({path for pattern in patterns for path in glob.glob(pattern, recursive=True)})


def selected_books(wildcards):
    """Cleaned texts of the books that selection.csv keeps; known once the catalog has been read."""
    with open(checkpoints.selection.get().output.csv, encoding="utf-8", newline="") as table:
        ids = [row["gutenberg_id"] for row in csv.DictReader(table) if row["kept"] == "yes"]
    return expand("data/ancients/clean/{id}.txt", id=ids)


def hold_the_lock():
    """Let one workflow at a time work in this folder.

    Snakemake's own lock outlives a killed process and then wants `--unlock`; the operating system drops this one
    with the process, so that after a crash the next call just works.
    """
    global lock
    lock = open(".snakemake/minlm.lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WorkflowError("Another snakemake is working in this folder. Wait for it to end, or stop it.") from None


onstart:
    hold_the_lock()
