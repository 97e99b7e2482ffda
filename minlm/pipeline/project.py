"""A new project: the Snakefile, the rules, the profiles and the configuration in a folder of the user's."""

import shutil
from pathlib import Path

from minlm.errors import MinlmError

PROJECT = ("Snakefile", "config.yaml", "workflow", "profiles", "envs")  # setup.py puts them into the wheel
PACKAGE = Path(__file__).parents[1]
GITIGNORE = "/data/\n/results/\n/logs/\n/.snakemake/\n"


def source() -> Path:
    """The folder that has the files of a project: in the package if it was installed, or else the checkout.

    Raises:
        MinlmError: neither has them.
    """
    for folder in (PACKAGE / "project", PACKAGE.parent):
        if all((folder / name).exists() for name in PROJECT):
            return folder
    raise MinlmError(f"{PACKAGE} has no project files. Install minlm again: pip install --force-reinstall minlm")


def make_project(folder: str | Path) -> Path:
    """Copy the files of a project into a folder, which is created if it does not exist.

    Raises:
        MinlmError: a file or folder of the project exists there.
    """
    folder, files = Path(folder), source()
    if there := [name for name in PROJECT if (folder / name).exists()]:
        raise MinlmError(f"{folder} already has {', '.join(there)}. Give another folder, or remove them.")
    folder.mkdir(parents=True, exist_ok=True)
    for name in PROJECT:
        if (files / name).is_dir():
            shutil.copytree(files / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(files / name, folder / name)
    if not (folder / ".gitignore").exists():
        (folder / ".gitignore").write_text(GITIGNORE)
    return folder
