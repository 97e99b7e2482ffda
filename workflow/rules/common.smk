"""The configuration, and what the other files share. Nothing heavy is imported: a no-op call must cost nothing."""

import csv
import sys
from pathlib import Path

sys.path.insert(0, workflow.basedir)

from minlm.config import load_schema, resolve
from minlm.errors import MinlmError
from minlm.workflow import expand_globs, flags, lock_folder, use_this_python

use_this_python(workflow.basedir)

try:
    config = resolve(
        config,
        load_schema(Path(workflow.basedir) / "workflow/schemas/config.schema.yaml"),
    )
except MinlmError as error:
    sys.exit(f"Error: {error}")

CORPUS, ANCIENTS, TOKENIZER = config["corpus"], config["ancients"], config["tokenizer"]
MODEL, TRAINING, SAMPLING = config["model"], config["training"], config["sampling"]

# Settings that change how a job runs and not what it makes stand in the shell command, not in `params`: changing
# them re-runs nothing.
DELAY = ANCIENTS["request_delay"]
DEVICE = flags(TRAINING, "device")
WANDB = flags(TRAINING, "log_to_wandb")
SAVING = flags(TRAINING, "save_interval")

VOCAB = {"vocab": "data/tokenizer/vocab.json", "merges": "data/tokenizer/merges.txt"}
PLOTS = {name: f"results/plots/{name}.png" for name in ("loss_vs_iter", "loss_vs_time", "speed_vs_iter")}


def selected_books(wildcards):
    """Cleaned texts of the books that selection.csv keeps; known once the catalog has been read."""
    with open(checkpoints.selection.get().output.csv, encoding="utf-8", newline="") as table:
        ids = [row["gutenberg_id"] for row in csv.DictReader(table) if row["kept"] == "yes"]
    return expand("data/ancients/clean/{id}.txt", id=ids)
