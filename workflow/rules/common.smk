"""Configuration and helper functions. Nothing heavy is imported here: a no-op call must cost nothing."""

import csv
import fcntl
import glob
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.shell import shell

# Rules call `python -m minlm.scripts.X`; this finds the package where it is not installed (rule-level conda).
shell.prefix(f"export PYTHONPATH={shlex.quote(workflow.basedir)}:${{PYTHONPATH:-}}; ")
sys.path.insert(0, workflow.basedir)

from minlm.config import load_schema, resolve
from minlm.errors import MinlmError

try:
    config = resolve(config, load_schema(Path(workflow.basedir) / "workflow/schemas/config.schema.yaml"))
except MinlmError as error:
    raise WorkflowError(str(error)) from None
