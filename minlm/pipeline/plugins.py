"""Snakemake's executor plugins. The profiles call `executor` as YTE templates (Snakemake reads profiles with YTE)."""

import importlib.util
import sys


def executor(name: str) -> str:
    """Return the name of an executor; stop the call if its plugin is not installed, and say which extra installs it.

    Without this, Snakemake says only that there is no such choice.
    """
    if importlib.util.find_spec(f"snakemake_executor_plugin_{name.replace('-', '_')}") is None:
        sys.exit(
            f"Error: this profile needs Snakemake's plugin {name}, which is not installed. Install it with\n"
            f"  pip install 'minlm[{name}]'      (in a checkout of minlm: pip install -e '.[{name}]')"
        )
    return name
