"""The configuration, and what the other files share. Nothing heavy is imported: a no-op call must cost nothing."""

import sys
from pathlib import Path

sys.path.insert(0, workflow.basedir)

from minlm.pipeline.config import load_schema, resolve
from minlm.cores import available_cores
from minlm.errors import MinlmError
from minlm.pipeline.experiments import HOW, MAIN, differences, first_alike, runs
from minlm.finished import forget
from minlm.process import become_owner
from minlm.pipeline.rules import (
    JOB,
    any_of,
    cache_for_this_code,
    expand_globs,
    flags,
    has_gpu,
    kept_books,
    link_target,
    lock_folder,
    share_cores,
    training_memory,
    use_this_python,
)

# `--cores 8` on a machine of 2 is `--cores 2`: or four trainings with 2 threads each would run at once. (Snakemake
# counts jobs instead, its "nodes", where they run on other machines.)
if workflow.resource_settings.nodes is None and (workflow.resource_settings.cores or 0) > available_cores():
    logger.info(f"--cores {workflow.cores}: this process may use {available_cores()}, so it takes no more.")
    workflow.global_resources["_cores"] = available_cores()

become_owner()
shell.prefix(JOB.replace("{", "{{").replace("}", "}}"))

try:
    use_this_python(workflow.basedir)
    cache_for_this_code(workflow.basedir)
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
    """Flags for the named settings (default: all that change results) of the run a job belongs to.

    A function even where all runs have the same: in a plain text, Snakemake would take {a} for a wildcard.
    """

    def of_this_run(wildcards):
        values = RUNS[wildcards.get("run", MAIN)]
        for part in section.split("."):
            values = values[part]
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


# On this machine's CPU the jobs of several runs share the cores. A GPU is for one at a time, with all cores.
ON_CPU = TRAINING["devices"] == 1 and (TRAINING["device"] == "cpu" or TRAINING["device"] is None and not has_gpu())
MEMORY = max(map(training_memory, RUNS.values()))


def shared_threads(rule):
    """Threads of each job of a rule: with several to run, as many as let them run side by side."""

    def of_each(wildcards):
        if not (ON_CPU and workflow.local_exec):
            return 16
        jobs = sum(job.rule.name == rule for job in workflow.dag.needrun_jobs())
        return min(16, share_cores(workflow.cores, jobs, MEMORY))

    return of_each


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
    try:
        ids = kept_books(checkpoints.selection.get().output.csv)
    except MinlmError as error:
        raise WorkflowError(str(error)) from None
    return expand("data/ancients/clean/{id}.txt", id=ids)


def models_known_as_done(dag):
    """Models whose training snakemake has found done, now or before."""
    trainings = (job for job in dag.jobs if job.rule.name == "train")
    return [str(job.output.model) for job in trainings if dag.noneedrun_finished(job)]
