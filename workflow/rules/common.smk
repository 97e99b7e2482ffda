"""The configuration, and what the other files share. Nothing heavy is imported: a no-op call must cost nothing."""

import csv
import sys
from pathlib import Path

sys.path.insert(0, workflow.basedir)

from minlm.pipeline.config import load_schema, resolve
from minlm.errors import MinlmError
from minlm.pipeline.experiments import HOW, MAIN, differences, first_alike, runs
from minlm.pipeline.rules import any_of, cache_for_this_code, expand_globs, flags, lock_folder, use_this_python

use_this_python(workflow.basedir)
cache_for_this_code(workflow.basedir)

try:
    schema = load_schema(Path(workflow.basedir) / "workflow/schemas/config.schema.yaml")
    config = resolve(config, schema)
    RUNS = runs(config, schema)
except MinlmError as error:
    sys.exit(f"Error: {error}")

CORPUS, ANCIENTS, TRAINING = config["corpus"], config["ancients"], config["training"]

# Settings that change how a job runs and not what it makes stand in the shell command, not in `params`: changing
# them re-runs nothing.
DELAY = ANCIENTS["request_delay"]
DEVICE = flags(TRAINING, "device")
WANDB = flags(TRAINING, "log_to_wandb")
SAVING = flags(TRAINING, "save_interval")
COMPUTING = flags(TRAINING, "compile", "grad_accum_steps", "gradient_checkpointing")
PYTHON = "python"
if TRAINING["devices"] > 1:  # torchrun starts the processes
    PYTHON += f" -m torch.distributed.run --standalone --nproc-per-node {TRAINING['devices']}"

# Results go to the cache between workflows where `--cache` asks for it; else Snakemake would tell at each call that
# they could.
CACHE = "omit-software" if workflow.workflow_settings.cache is not None else False

# The wildcard {run} is "" for the main configuration and "experiments/NAME/" for a variant (docs/experiments.md).
FIRST_ALIKE = first_alike(RUNS)


wildcard_constraints:
    run=any_of(RUNS),


def settings(section, *names):
    """Flags for the named settings (default: all that change results) of the run a job belongs to."""

    def of_this_run(wildcards):
        values = RUNS[wildcards.run][section]
        return flags(values, *(names or (name for name in values if f"{section}.{name}" not in HOW)))

    return of_this_run


def made(stage, paths):
    """Input made by a stage: of this run, or of the first run with the same settings up to that stage."""

    def by_the_first_alike(wildcards):
        values = {**dict(wildcards.items()), "run": FIRST_ALIKE[stage][wildcards.run]}
        return [path.format(**values) for path in ([paths] if isinstance(paths, str) else paths)]

    return by_the_first_alike


def computes(stage):
    """Pattern of the runs that compute a stage themselves, because no run before them has the same settings."""
    return any_of(set(FIRST_ALIKE[stage].values()))


VOCAB = {"vocab": "data/{run}tokenizer/vocab.json", "merges": "data/{run}tokenizer/merges.txt"}
TOKENIZER_FILES = {name: made("tokenizer", path) for name, path in VOCAB.items()}


# Counting and tokenizing in shards: files with .2-of-4 in their names instead of one with nothing there.
SHARDS = config["tokenizer"]["shards"]
SHARD = r"\.\d+-of-\d+" if SHARDS > 1 else "()"


scattergather:
    shards=SHARDS,


def whole_or_shards(path):
    """The path itself, or those of all its shards: data/tokens/train.npy or data/tokens/train.1-of-4.npy, …"""
    stem, suffix = path.replace("{", "{{").replace("}", "}}").rsplit(".", 1)
    return gather.shards(f"{stem}.{{scatteritem}}.{suffix}") if SHARDS > 1 else [path]


def shard_flag(wildcards):
    """For ".2-of-4": --shard 2/4."""
    return f"--shard {wildcards.shard[1:].replace('-of-', '/')}" if wildcards.shard else ""


def selected_books(wildcards):
    """Cleaned texts of the books that selection.csv keeps; known once the catalog has been read."""
    with open(checkpoints.selection.get().output.csv, encoding="utf-8", newline="") as table:
        ids = [row["gutenberg_id"] for row in csv.DictReader(table) if row["kept"] == "yes"]
    return expand("data/ancients/clean/{id}.txt", id=ids)
