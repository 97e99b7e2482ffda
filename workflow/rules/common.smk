"""The configuration, and what several rule files use. Imports nothing heavy, because each call of `snakemake` runs it."""

import json
import os
import sys

sys.path.insert(0, workflow.basedir)

from minlm.errors import MinlmError
from minlm.finished import forget
from minlm.pipeline.addresses import downloads
from minlm.pipeline.config import resolve
from minlm.pipeline.experiments import MAIN, differences, runs
from minlm.pipeline.rules import (
    JOB_FUNCTION,
    any_of,
    cache_for_this_code,
    check_anchors,
    expand_globs,
    finished_models,
    flags,
    kept_books,
    kept_models,
    link_target,
    lock_folder,
    replaced_models,
    shard_flag,
    shard_paths,
    torchrun,
    unrecorded,
    use_this_python,
)
from minlm.pipeline.runs import Runs
from minlm.pipeline.settings import load_schema
from minlm.pipeline.stages import replicates
from minlm.pipeline.terminal import take_over
from minlm.pipeline.threads import limit_cores, shared_threads
from minlm.pipeline.used import recipe, text_settings, unused_settings
from minlm.process import become_owner

TERMINAL = take_over(workflow, logger)
if message := limit_cores(workflow):
    logger.info(message)
become_owner()
shell.prefix(JOB_FUNCTION.replace("{", "{{").replace("}", "}}"))

try:
    use_this_python(workflow.basedir)
    cache_for_this_code()
    check_anchors("config.yaml")
except MinlmError as error:
    sys.exit(f"Error: {error}")


# A folder without a config.yaml (`--directory`) uses the one beside the Snakefile.
configfile: "config.yaml" if os.path.exists("config.yaml") else f"{workflow.basedir}/config.yaml"


try:
    schema = load_schema()
    config = resolve(config, schema)
    NAME = config.pop("run")
    RUNS = Runs(runs(config, schema))
except MinlmError as error:
    sys.exit(f"Error: {error}")

CORPUS, ANCIENTS, TRAINING = config["corpus"], config["ancients"], config["training"]

# With `run: NAME`, results and their logs are in folders of their own. All runs share data/.
RESULTS, LOGS = (f"results/{NAME}", f"logs/{NAME}") if NAME else ("results", "logs")


# <results> in a path is one of these folders.
pathvars:
    results=RESULTS,
    logs=LOGS,
    benchmarks=f"{LOGS}/benchmarks",


# The folder of a run's files: "" for the main run, "experiments/NAME/" for a variant. docs/experiments.md has a picture.
wildcard_constraints:
    run_dir=any_of(RUNS),


# Counting and tokenizing can run in shards. Names of files then contain the shard: data/tokens/train.2-of-4.npy.
SHARDS = config["tokenizer"]["shards"]
SHARD = r"\.\d+-of-\d+" if SHARDS > 1 else "()"

# The models of a run, beside one another, and the one that is evaluated, sampled and exported.
KEPT_MODELS = kept_models(TRAINING)
MODELS = {"last": "model.pt", **KEPT_MODELS}
USED_MODEL = MODELS[TRAINING["use_checkpoint"]]

VOCAB = {"vocab": "data/{run_dir}tokenizer/vocab.json", "merges": "data/{run_dir}tokenizer/merges.txt"}
TOKENIZER_FILES = {name: RUNS.output_of("tokenizer", path) for name, path in VOCAB.items()}

# Rules declare only with `--cache` that they can use the between-workflow cache: Snakemake reports each such rule.
CACHE = "omit-software" if workflow.workflow_settings.cache is not None else False
