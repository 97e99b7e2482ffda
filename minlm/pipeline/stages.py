"""Which run computes what several runs share.

A stage is computed once for all runs whose settings agree in everything that the stage depends on, by the first of
them. Every call of `snakemake` imports this module, so it imports nothing heavy.
"""

import copy
import re
from typing import Any

from minlm.pipeline.config import Config
from minlm.pipeline.settings import rerun_nothing

# The sections and keys that the results of each stage depend on, and the stages before it. All runs share the same
# source texts (downloads, books, the user's own files).
STAGES = {
    "corpus": ("corpus.source", "corpus.target_total_words", "ancients.share"),
    "words": ("tokenizer.pattern", "tokenizer.special_tokens"),
    "tokenizer": ("tokenizer.vocab_size",),
    "tokens": ("tokenizer.output_dtype",),
    "bigram": ("model.d_model",),
    "model": ("model", "training"),
    "samples": ("sampling",),
}
AFTER = {
    "corpus": (), "words": ("corpus",), "tokenizer": ("words",), "tokens": ("corpus", "tokenizer"),
    "bigram": ("tokens",), "model": ("tokens",), "samples": ("model",),
}  # fmt: skip


def computed_by(configurations: dict[str, Config]) -> dict[str, dict[str, str]]:
    """Return stage → run → the run that computes the stage: the first with the same settings up to that stage."""
    result: dict[str, dict[str, str]] = {}
    for stage in STAGES:
        first: dict[str, str] = {}  # by the settings
        result[stage] = {
            run: first.setdefault(repr(_settings_up_to(stage, run, configurations)), run) for run in configurations
        }
    return result


def parent_of(run: str, configurations: dict[str, Config]) -> str | None:
    """Return the run from whose model a run starts, or None if it starts from a file or from nothing."""
    parent = f"experiments/{configurations[run]['training']['init_from']}/"
    return parent if parent in configurations else None


def replicates(configurations: dict[str, Config]) -> dict[str, str]:
    """Return run → the first run that differs from it in nothing but the seed of the training."""
    seedless = copy.deepcopy(configurations)
    seeds = {run: config["training"].pop("seed") for run, config in seedless.items()}
    result: dict[str, str] = {}
    groups: dict[str, dict[int, str]] = {}  # by the settings: seed → run
    for run in configurations:
        group = groups.setdefault(_without_names(_settings_up_to("samples", run, seedless)), {})
        result[run] = next(iter(group.values()), run) if seeds[run] not in group else run
        group.setdefault(seeds[run], run)
    return result


def may_vary(key: str) -> bool:
    """Return whether variants can differ in this dotted key."""
    keys = [known for stage in STAGES.values() for known in stage]
    return key not in rerun_nothing() and any(key == known or key.startswith(f"{known}.") for known in keys)


def _settings_up_to(stage: str, run: str, configurations: dict[str, Config]) -> list[Any]:
    """Return the values of everything that a stage of a run depends on."""
    parent = parent_of(run, configurations)
    if stage == "tokenizer" and parent is not None:  # the model knows the tokens of this tokenizer only
        return _settings_up_to(stage, parent, configurations)
    own = [_settings_of_results(configurations[run], key) for key in STAGES[stage]]
    if stage == "model" and parent is not None:
        own.append(_settings_up_to(stage, parent, configurations))
    return [own, *(_settings_up_to(before, run, configurations) for before in AFTER[stage])]


def _without_names(settings: Any) -> str:
    """Return settings as a text in which a parent has no name: its own settings are among them."""
    return re.sub(r"'init_from': '[^']*-seed=\d+'", "", repr(settings))


def _settings_of_results(config: Config, key: str) -> Any:
    """Return the value of a key, or of a section without the settings that re-run nothing."""
    value: Any = config
    for part in key.split("."):
        value = value[part]
    if not isinstance(value, dict):
        return value
    return {name: inner for name, inner in value.items() if f"{key}.{name}" not in rerun_nothing()}
