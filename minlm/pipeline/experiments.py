"""Experiments: variants of the main configuration.

A run is the main configuration or one of its variants. Its key is the folder of its files below data/ and results/: ""
for the main run, "experiments/{name}/" for a variant. This key is the wildcard `{run_dir}` in the paths of the rules.
Every call of `snakemake` imports this module, so it imports nothing heavy.
"""

import copy
import difflib
import itertools
import math
import re
from collections.abc import Iterator
from typing import Any

from minlm.pipeline.config import Config, complete, raise_if_any
from minlm.pipeline.stages import may_vary

MAIN = ""

# A variant's name is the name of a folder: short, without characters that a shell or Snakemake interprets.
READABLE = re.compile(r"[A-Za-z0-9._+-]{1,40}")
LONGEST_NAME = 200
MOST_VARIANTS = 1000  # in one sweep

# A variant that starts from another has its architecture; these keys of it may still differ.
OF_NO_WEIGHT = ("model.context_length", "model.flash_attention")


def runs(config: Config, schema: Config) -> dict[str, Config]:
    """Return the complete configuration of each run by its folder, the main run first.

    Args:
        config: the complete main configuration. `experiments` maps the name of a variant to its overrides, as nested
            sections or dotted keys. An override called `sweep` makes one variant for each combination of its values.
        schema: the configuration's schema.

    Raises:
        MinlmError: a variant is invalid; one line for each problem.
    """
    problems: list[str] = []
    overrides: dict[str, Config] = {}
    for name, changes in variants(config["experiments"], problems):
        if name in overrides:
            problems.append(f"experiments.{name}: there are two of this name. Rename one, or drop the repeated value.")
        overrides[name] = changes
    configurations = {MAIN: config}
    if (start := config["training"]["init_from"]) is not None and not start.endswith(".pt"):
        problems.append(
            f"training.init_from: {start!r} is not a model.pt. Only an experiment can start from another experiment."
        )
    for name in overrides:
        _add_variant(name, (), overrides, configurations, schema, problems)
    raise_if_any(problems)
    return configurations


def _add_variant(
    name: str, waiting: tuple[str, ...], overrides: dict[str, Config], configurations: dict[str, Config],
    schema: Config, problems: list[str],
) -> None:  # fmt: skip
    """Add the configuration of a variant, after that of the variant it starts from, for which `waiting` ones wait."""
    if f"experiments/{name}/" in configurations:
        return
    place, changes = f"experiments.{name}", overrides[name]
    wanted = {**copy.deepcopy(configurations[MAIN]), "experiments": {}}
    parent = changes.get("training.init_from")
    if parent not in overrides and (same_seed := f"{parent}-seed={changes.get('training.seed')}") in overrides:
        changes["training.init_from"] = parent = same_seed
    if parent in (*waiting, name):
        circle = [*waiting[waiting.index(parent) if parent in waiting else len(waiting) :], name, parent]
        problems.append(
            f"{place}: training.init_from: {' → '.join(circle)} is a circle. Start one of them from nothing."
        )
        return
    if parent in overrides:
        _add_variant(parent, (*waiting, name), overrides, configurations, schema, problems)
        if f"experiments/{parent}/" not in configurations:
            return
        parent_config = configurations[f"experiments/{parent}/"]
        wanted |= {section: copy.deepcopy(parent_config[section]) for section in ("model", "tokenizer")}
    elif isinstance(parent, str) and not parent.endswith(".pt"):
        near = difflib.get_close_matches(parent, overrides, n=1)
        problems.append(
            f"{place}: training.init_from: {parent!r} is neither another experiment nor a model.pt. "
            + (f"Did you mean {near[0]}?" if near else f"The experiments are {', '.join(overrides)}.")
        )
    for key, value in changes.items():
        if not may_vary(key):
            problems.append(f"{place}: {key} cannot vary between experiments. docs/experiments.md says what can.")
        if not _set(wanted, key, value):
            problems.append(f"{place}: {key}: unknown key. The part before the last dot is not a section.")
    variant, wrong = complete(wanted, schema)
    problems += [f"{place}: {problem}" for problem in wrong]
    if parent in overrides and not wrong:
        theirs = dict(_dotted({section: parent_config[section] for section in ("model", "tokenizer")}))
        problems += [
            f"{place}: {key} is {_readable(value)}, but {parent}, from which it starts, has {_readable(theirs[key])}. "
            "Leave it out."
            for key, value in _dotted({section: variant[section] for section in ("model", "tokenizer")})
            if value != theirs[key] and key not in OF_NO_WEIGHT
        ]
    configurations[f"experiments/{name}/"] = variant


def variants(experiments: Config, problems: list[str]) -> Iterator[tuple[str, Config]]:
    """Yield the name and the overrides (by dotted key) of each variant; append what is wrong to `problems`."""
    for name, overrides in experiments.items():
        fixed = dict(_dotted({key: value for key, value in (overrides or {}).items() if key not in ("sweep", "seeds")}))
        sweep, seeds = (overrides or {}).get("sweep"), (overrides or {}).get("seeds")
        if sweep is None and seeds is None:
            yield name, fixed
            continue
        grid = dict(_dotted({} if sweep is None else sweep)) if isinstance(sweep, dict | None) else {"": None}
        if seeds is not None:
            grid["training.seed"] = seeds
        if not grid or not all(isinstance(values, list) and values for values in grid.values()):
            problems.append(
                f"experiments.{name}: give lists of values, such as sweep: {{training.lr_max: [1e-4, 1e-3]}} or "
                "seeds: [0, 1, 2]."
            )
            continue
        if (count := math.prod(map(len, grid.values()))) > MOST_VARIANTS:
            problems.append(
                f"experiments.{name}.sweep: {count:,} combinations, more than {MOST_VARIANTS:,}. Give fewer."
            )
            continue
        leaves = [key.rsplit(".", 1)[-1] for key in grid]
        labels = leaves if len(set(leaves)) == len(leaves) else list(grid)
        parts = [_parts(label, values) for label, values in zip(labels, grid.values(), strict=True)]
        names = ["-".join([name, *words]) for words in itertools.product(*parts)]
        if max(map(len, names)) > LONGEST_NAME:
            names = [f"{name}-{number}" for number in range(1, len(names) + 1)]
        for variant, values in zip(names, itertools.product(*grid.values()), strict=True):
            yield variant, {**fixed, **dict(zip(grid, values, strict=True))}


def _parts(label: str, values: list[Any]) -> list[str]:
    """Return the part of a variant's name for each value: lr_max=0.001, or prompts=1 if a value is long or odd."""
    words = [_readable(value) for value in values]
    if not all(READABLE.fullmatch(word) for word in words):
        words = [str(values.index(value) + 1) for value in values]
    return [f"{label}={word}" for word in words]


def differences(main: Config, variant: Config) -> str:
    """Return the settings in which a variant differs from the main configuration, such as "training.lr_max=0.001"."""
    common = dict(_dotted(main))
    changes = [f"{key}={_readable(value)}" for key, value in _dotted(variant) if value != common.get(key)]
    return " ".join(changes) or "the main configuration"


def _dotted(overrides: Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested sections as dotted keys: {"model": {"d_ff": 8}} and {"model.d_ff": 8} are the same."""
    for key, value in overrides.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _set(config: Config, dotted: str, value: Any) -> bool:
    """Set a dotted key and return True, or return False if a section on the way is a plain value.

    Creates sections that do not exist; the schema then refuses them.
    """
    *sections, key = dotted.split(".")
    for section in sections:
        config = config.setdefault(section, {})
        if not isinstance(config, dict):
            return False
    config[key] = value
    return True


def _readable(value: Any) -> str:
    """Return a value as people write it. 3.0e-4 and 3e-4 (which YAML reads as text) are both 0.0003."""
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    try:
        return f"{float(value):.6g}" if not isinstance(value, int) else str(value)
    except (TypeError, ValueError):
        return str(value)
