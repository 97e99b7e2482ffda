"""Adds the workflow to a wheel, as minlm/project: `minlm init` copies it. Everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
PROJECT = ("Snakefile", "config.yaml", "workflow", "profiles", "envs")  # as in minlm/pipeline/project.py


class BuildWithProject(build_py):
    """Also copies the workflow."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if self.editable_mode:  # the checkout has it
            return
        for name in PROJECT:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            target = Path(self.build_lib, "minlm", "project", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, target, **({"dirs_exist_ok": True} if copy is shutil.copytree else {}))


setup(cmdclass={"build_py": BuildWithProject})
