"""Experiments: variants of the main configuration, and which of them computes what several share.

A run is the main configuration (called "") or a variant ("experiments/{name}/"); its name is the wildcard `{run}` in
the paths of the rules. A stage of a run is computed by the first run whose settings agree in everything that the
stage depends on. Imported by every call of `snakemake`, so nothing heavy.
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

# Names of variants are names of folders: short, of letters that neither a shell nor Snakemake takes for its own.
READABLE = re.compile(r"[A-Za-z0-9._+-]{1,40}")
LONGEST_NAME = 200
MOST_VARIANTS = 1000  # of one sweep

# What the results of each stage depend on, besides the stage before it: sections or single keys. The texts
# themselves (downloads, books, your own files) are the same for all runs.
STAGES = {
    "corpus": ("corpus.source", "corpus.target_total_words", "ancients.share"),
    "tokenizer": ("tokenizer.vocab_size",),
    "tokens": ("tokenizer.output_dtype",),
    "model": ("model", "training"),
    "samples": ("sampling",),
}


def runs(config: Config, schema: Config) -> dict[str, Config]:
    """The complete configuration of each run, the main one first.

    Args:
        config: the main configuration, complete. `experiments` maps the name of a variant to its overrides: sections
            with keys, or dotted keys. A `sweep` among them makes one variant of each combination of its values.
        schema: of the configuration.

    Raises:
        MinlmError: one line for each problem of each variant.
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
                problems.append(f"experiments.{name}: {key}: unknown key. What is before the last dot is no section.")
        if f"experiments/{name}/" in configurations:
            problems.append(f"experiments.{name}: there are two of this name. Rename one, or drop the repeated value.")
        variant, wrong = complete(wanted, schema)
        problems += [f"experiments.{name}: {problem}" for problem in wrong]
        configurations[f"experiments/{name}/"] = variant
    raise_if_any(problems)
    return configurations


def variants(experiments: Config, problems: list[str]) -> Iterator[tuple[str, Config]]:
    """Name and overrides (dotted keys) of each variant; a sweep is one variant for each combination of its values."""
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
        for made, values in zip(names, itertools.product(*grid.values()), strict=True):
            yield made, {**fixed, **dict(zip(grid, values, strict=True))}


def _parts(label: str, values: list[Any]) -> list[str]:
    """A word for each value, for the names of variants: lr=0.001; or prompts=1 where one has no short readable form."""
    words = [_readable(value) for value in values]
    if not all(READABLE.fullmatch(word) for word in words):
        words = [str(values.index(value) + 1) for value in values]
    return [f"{label}={word}" for word in words]


def first_alike(configurations: dict[str, Config]) -> dict[str, dict[str, str]]:
    """Stage → run → the first run with the same settings for this stage and those before it."""
    alike: dict[str, dict[str, str]] = {}
    settings: dict[str, list[Any]] = {run: [] for run in configurations}
    for stage, keys in STAGES.items():
        computed: list[str] = []
        alike[stage] = {}
        for run, config in configurations.items():
            settings[run] = [*settings[run], *(_results_of(config, key) for key in keys)]
            first = next((other for other in computed if settings[other] == settings[run]), run)
            alike[stage][run] = first
            if first == run:
                computed.append(run)
    return alike


def differences(main: Config, variant: Config) -> str:
    """The settings in which a variant differs from the main configuration, to read: "training.lr_max=0.001 …"."""
    common = dict(_dotted(main))
    changes = [f"{key}={_readable(value)}" for key, value in _dotted(variant) if value != common.get(key)]
    return " ".join(changes) or "the main configuration"


def may_vary(key: str) -> bool:
    """Can variants differ in this (dotted) key?"""
    keys = [known for stage in STAGES.values() for known in stage]
    return key not in rerun_nothing() and any(key == known or key.startswith(f"{known}.") for known in keys)


def _results_of(config: Config, key: str) -> Any:
    """The value of a key or a section, without what does not change results."""
    value: Any = config
    for part in key.split("."):
        value = value[part]
    if not isinstance(value, dict):
        return value
    return {name: v for name, v in value.items() if f"{key}.{name}" not in rerun_nothing()}


def _dotted(overrides: Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested sections as dotted keys: {"model": {"d_ff": 8}} and {"model.d_ff": 8} are the same."""
    for key, value in overrides.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _set(config: Config, dotted: str, value: Any) -> bool:
    """Set a dotted key; the sections on the way are made if they do not exist (the schema then complains).

    False if a value is in the way.
    """
    *sections, key = dotted.split(".")
    for section in sections:
        config = config.setdefault(section, {})
        if not isinstance(config, dict):
            return False
    config[key] = value
    return True


def _readable(value: Any) -> str:
    """A value for the name of a variant: 3.0e-4 and the text 3e-4 (which is what YAML reads) are both 0.0003."""
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    try:
        return f"{float(value):.6g}" if not isinstance(value, int) else str(value)
    except (TypeError, ValueError):
        return str(value)
