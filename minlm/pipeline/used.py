"""Which settings a run uses. Every call of `snakemake` imports this module, so it imports nothing heavy."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from minlm.pipeline.config import Config
from minlm.pipeline.settings import flatten, load_schema, rerun_nothing

TEXT_SECTIONS = ("corpus", "ancients", "tokenizer")  # model.pt and samples.txt state the settings of the others
RECIPE = ("corpus.", "ancients.", "tokenizer.", "model.", "training.")
CHECKPOINT = {f"training.{name}" for name in ("keep_checkpoints", "keep_best", "use_checkpoint")}
OF_FILES = {f"corpus.files.{name}" for name in ("valid_fraction", "documents", "text_field")}  # local or downloaded


def text_settings(config: Config) -> list[str]:
    """The settings that this run's text and tokenizer depend on, each as "corpus.source=sample"."""
    values = {key: _value(config, key) for key in _text_keys() if _is_used(config, key)}
    return [f"{key}={'null' if value is None else value}" for key, value in values.items()]


def unused_settings(config: Config) -> list[str]:
    """The dotted keys of the settings that this run does not look at: other sources, ancient books without a share."""
    return [key for key in _text_keys() if not _is_used(config, key)]


def recipe(config: Config) -> Config:
    """The settings that this run's model depends on, as a configuration that makes it again."""
    found: Config = {}
    irrelevant = rerun_nothing() - (CHECKPOINT if config["training"]["use_checkpoint"] != "last" else set())
    for key, _ in flatten(load_schema()):
        *sections, name = key.split(".")
        if key.startswith(RECIPE) and key not in irrelevant and _is_used(config, key):
            place = found
            for part in sections:
                place = place.setdefault(part, {})
            place[name] = _public(_value(config, key))
    return found


def _public(value: Any) -> Any:
    """A value without what is secret in an address: a name and password before the host, and a query."""
    if isinstance(value, list):
        return [_public(item) for item in value]
    if isinstance(value, dict):
        return {key: _public(item) for key, item in value.items()}
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        address = urlsplit(value)
        return urlunsplit((address.scheme, address.netloc.rpartition("@")[2], address.path, "", ""))
    return value


def _text_keys() -> Iterator[str]:
    for key, _ in flatten(load_schema()):
        if key.partition(".")[0] in TEXT_SECTIONS and key not in rerun_nothing():
            yield key


def _is_used(config: Config, key: str) -> bool:
    section, name, *inner = key.split(".")
    if section == "ancients":
        return name == "share" or config["ancients"]["share"] > 0
    source = config["corpus"]["source"]
    return not (section == "corpus" and inner) or name == source or (source == "urls" and key in OF_FILES)


def _value(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value[part]
    return value
