"""Experiments: variants of the main configuration, and which run computes what several runs share.

A run is the main configuration or one of its variants. Its key is the folder of its files below data/ and results/: ""
for the main run, "experiments/{name}/" for a variant. This key is the wildcard `{run_dir}` in the paths of the rules.
A stage is computed once for all runs whose settings agree in everything that the stage depends on, by the first of
them. Every call of `snakemake` imports this module, so it imports nothing heavy.
"""

import copy
import itertools
import math
import re
from collections.abc import Iterator
from typing import Any

from minlm.pipeline.config import Config, complete, raise_if_any
from minlm.pipeline.settings import rerun_nothing

MAIN = ""

# A variant's name is the name of a folder: short, without characters that a shell or Snakemake interprets.
READABLE = re.compile(r"[A-Za-z0-9._+-]{1,40}")
LONGEST_NAME = 200
MOST_VARIANTS = 1000  # in one sweep

# The sections and keys that the results of each stage depend on, besides the stage before it. All runs share the same
# source texts (downloads, books, the user's own files).
STAGES = {
    "corpus": ("corpus.source", "corpus.target_total_words", "ancients.share"),
    "tokenizer": ("tokenizer.vocab_size",),
    "tokens": ("tokenizer.output_dtype",),
    "bigram": ("model.d_model",),
    "model": ("model", "training"),
    "samples": ("sampling",),
}


def runs(config: Config, schema: Config) -> dict[str, Config]:
    """Return the complete configuration of each run by its folder, the main run first.

    Args:
        config: the complete main configuration. `experiments` maps the name of a variant to its overrides, as nested
            sections or dotted keys. An override called `sweep` makes one variant for each combination of its values.
        schema: the configuration's schema.

    Raises:
        MinlmError: a variant is invalid; one line for each problem.
    """
    configurations = {MAIN: config}
    problems: list[str] = []
    for name, overrides in variants(config["experiments"], problems):
        wanted = {**copy.deepcopy(config), "experiments": {}}
        for key, value in overrides.items():
            if not may_vary(key):
                problems.append(
                    f"experiments.{name}: {key} cannot vary between experiments. docs/experiments.md says what can."
                )
            if not _set(wanted, key, value):
                problems.append(
                    f"experiments.{name}: {key}: unknown key. The part before the last dot is not a section."
                )
        if f"experiments/{name}/" in configurations:
            problems.append(f"experiments.{name}: there are two of this name. Rename one, or drop the repeated value.")
        variant, wrong = complete(wanted, schema)
        problems += [f"experiments.{name}: {problem}" for problem in wrong]
        configurations[f"experiments/{name}/"] = variant
    raise_if_any(problems)
    return configurations


def variants(experiments: Config, problems: list[str]) -> Iterator[tuple[str, Config]]:
    """Yield the name and the overrides (by dotted key) of each variant; append what is wrong to `problems`."""
    for name, overrides in experiments.items():
        fixed = dict(_dotted({key: value for key, value in (overrides or {}).items() if key != "sweep"}))
        sweep = (overrides or {}).get("sweep")
        if sweep is None:
            yield name, fixed
            continue
        grid = dict(_dotted(sweep)) if isinstance(sweep, dict) else {}
        if not grid or not all(isinstance(values, list) and values for values in grid.values()):
            problems.append(f"experiments.{name}.sweep: give lists of values, such as training.lr_max: [1e-4, 1e-3].")
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


def computed_by(configurations: dict[str, Config]) -> dict[str, dict[str, str]]:
    """Return stage → run → the run that computes the stage: the first with the same settings up to that stage."""
    result: dict[str, dict[str, str]] = {}
    settings: dict[str, list[Any]] = {run: [] for run in configurations}
    for stage, keys in STAGES.items():
        result[stage] = {}
        for run, config in configurations.items():
            settings[run] = [*settings[run], *(_settings_of_results(config, key) for key in keys)]
            earlier = result[stage].values()
            result[stage][run] = next((other for other in earlier if settings[other] == settings[run]), run)
    return result


def differences(main: Config, variant: Config) -> str:
    """Return the settings in which a variant differs from the main configuration, such as "training.lr_max=0.001"."""
    common = dict(_dotted(main))
    changes = [f"{key}={_readable(value)}" for key, value in _dotted(variant) if value != common.get(key)]
    return " ".join(changes) or "the main configuration"


def may_vary(key: str) -> bool:
    """Return whether variants can differ in this dotted key."""
    keys = [known for stage in STAGES.values() for known in stage]
    return key not in rerun_nothing() and any(key == known or key.startswith(f"{known}.") for known in keys)


def _settings_of_results(config: Config, key: str) -> Any:
    """Return the value of a key, or of a section without the settings that re-run nothing."""
    value: Any = config
    for part in key.split("."):
        value = value[part]
    if not isinstance(value, dict):
        return value
    return {name: inner for name, inner in value.items() if f"{key}.{name}" not in rerun_nothing()}


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
