"""The files that a name in the configuration stands for. Every call of `snakemake` imports this module."""

import glob
import json
import os

from minlm.errors import MinlmError
from minlm.reading import quote, reading


def matching_files(pattern: str) -> list[str]:
    """The file of this name, or the sorted files that the glob matches; those of a folder that `datasets` saved.

    Raises:
        MinlmError: the name is that of another folder, or of one that was saved with several splits.
    """
    if os.path.isdir(pattern) and not os.path.exists(os.path.join(pattern, "state.json")):
        splits = sorted(os.path.dirname(path) for path in glob.glob(f"{glob.escape(pattern)}/*/state.json"))
        advice = f"name one of its splits, for example {splits[0]}" if splits else f"name its files: {pattern}/*"
        raise MinlmError(f"{pattern} is a folder; {advice}")
    matches = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
    return [file for match in matches for file in ([match] if os.path.isfile(match) else _saved_files(match))]


def _saved_files(folder: str) -> list[str]:
    """The Arrow files of a folder that `datasets` saved, in order; none of other folders."""
    state = os.path.join(folder, "state.json")
    if not os.path.exists(state):
        return []
    with reading(state, "the list of a saved dataset's files", "Save the dataset again."):
        with open(state, encoding="utf-8") as file:
            names = [entry["filename"] for entry in json.load(file)["_data_files"]]
        if odd := [name for name in names if os.path.basename(name) != name]:
            raise ValueError(f"{quote(odd[0])} is not the name of a file in this folder")
    return [os.path.join(folder, name) for name in names]
