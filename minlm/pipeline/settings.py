"""The settings, each stated once: name, type, range, default and meaning are in config.schema.yaml (a JSON Schema).

Everything else follows from that file: the check of a configuration (config.py), the flags of the programs
(minlm/scripts/cli.py), the defaults of the library (`with_defaults`) and docs/configuration.md. A setting with
`x-reruns: nothing` changes how results are computed, not the results. Every call of `snakemake` imports this module,
so it imports nothing heavy.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from minlm.errors import MinlmError

Schema = dict[str, Any]
Class = TypeVar("Class", bound=type)

SCHEMA = Path(__file__).with_name("config.schema.yaml")
TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")


@functools.cache
def load_schema(path: str | Path = SCHEMA) -> Schema:
    """Read the schema. Callers share the result and do not change it."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where PyYAML has it: 10 times as fast
    return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=loader)


def flatten(schema: Schema, prefix: str = "") -> list[tuple[str, Schema]]:
    """All settings in order: dotted key and schema."""
    leaves: list[tuple[str, Schema]] = []
    for key, child in schema["properties"].items():
        nested = child.get("properties")
        leaves += [(f"{prefix}{key}", child)] if nested is None else flatten(child, f"{prefix}{key}.")
    return leaves


def section(name: str) -> dict[str, Schema]:
    """The settings of a section ("model" or "corpus.files") with their schemas, in order."""
    schema = load_schema()
    for part in name.split("."):
        schema = schema["properties"][part]
    return {key: child for key, child in schema["properties"].items() if "properties" not in child}


def find(key: str) -> Schema:
    """The schema of a setting, by its dotted key."""
    name, _, setting = key.rpartition(".")
    return section(name)[setting]


def defaults(name: str) -> dict[str, Any]:
    """The defaults of a section."""
    return {key: leaf["default"] for key, leaf in section(name).items()}


@functools.cache
def rerun_nothing() -> frozenset[str]:
    """The dotted keys of the settings that change how results are computed, not the results."""
    return frozenset(key for key, leaf in flatten(load_schema()) if leaf.get("x-reruns") == "nothing")


def with_defaults(name: str) -> Callable[[Class], Class]:
    """Decorate a class whose fields are settings of a section: each field gets its default from the schema."""

    def decorate(cls: Class) -> Class:
        for field in cls.__annotations__:
            default = defaults(name)[field]
            setattr(
                cls, field, dataclasses.field(default_factory=default.copy) if isinstance(default, list) else default
            )
        return cls

    return decorate


def check(name: str, values: Mapping[str, Any]) -> None:
    """Check values of a section.

    Raises:
        MinlmError: a value that the schema does not allow.
    """
    for key, value in values.items():
        leaf = section(name)[key]
        if not fits(value, leaf):
            raise MinlmError(f"--{key} must be {describe_type(leaf)}, not {value!r}.")


# --- values and their types ------------------------------------------------------------------------


def fits(value: Any, schema: Schema) -> bool:
    """Whether a value has the type and is in the range that its schema states. Does not look at items and keys."""
    kinds = types(schema)
    if kinds and not any(_is_a(kind, value) for kind in kinds):
        return False
    if "enum" in schema:
        return value in schema["enum"]
    if isinstance(value, str):
        return schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf) and (
            "pattern" not in schema or re.fullmatch(schema["pattern"], value) is not None
        )
    if _is_a("number", value):  # every comparison with NaN is false
        return (
            -math.inf < value < math.inf
            and schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)
            and schema.get("exclusiveMinimum", -math.inf) < value < schema.get("exclusiveMaximum", math.inf)
        )
    return not isinstance(value, list) or len(value) >= schema.get("minItems", 0)


def _is_a(kind: str, value: Any) -> bool:
    classes: dict[str, Any] = {
        "integer": int, "number": (int, float), "string": str, "boolean": bool, "array": list, "object": dict,
        "null": type(None),
    }  # fmt: skip
    return isinstance(value, classes[kind]) and (kind == "boolean" or not isinstance(value, bool))


def coerce(text: str, schema: Schema) -> Any:
    """A text as the type that the schema states, where it can be read as one; otherwise the text itself.

    Values are texts on the command line, after `--config`, and where YAML reads 3e-4 as one.
    """
    kinds = types(schema)
    if "string" in kinds:
        return None if text == "null" and "null" in kinds else text
    if "null" in kinds and text in ("null", "~", ""):
        return None
    if "boolean" in kinds and text.lower() in (*TRUE, *FALSE):
        return text.lower() in TRUE
    try:
        number = float(text)
    except ValueError:
        return text
    if "integer" in kinds and number.is_integer():
        return int(text) if text.lstrip("+-").replace("_", "").isdigit() else int(number)
    return number if "number" in kinds else text


def types(schema: Schema) -> list[str]:
    """The types that the schema allows; none if it does not say."""
    kind = schema.get("type", [])
    return [kind] if isinstance(kind, str) else kind


def describe_type(schema: Schema) -> str:
    """A schema's type and range in words, for example "a whole number ≥ 257"."""
    if "title" in schema:
        return str(schema["title"])
    if "enum" in schema:
        return "one of " + ", ".join("null" if value is None else str(value) for value in schema["enum"])
    words = {
        "integer": "a whole number", "number": "a number", "string": "a text", "boolean": "true or false",
        "array": "a list", "object": "a section with keys of its own", "null": "null",
    }  # fmt: skip
    text = " or ".join(words[kind] for kind in types(schema))
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    ranges = [f"{sign} {_figures(schema[name])}" for name, sign in signs.items() if name in schema]
    if ranges:
        first, *rest = text.split(" or ")
        text = " or ".join([f"{first} {' and '.join(ranges)}", *rest])
    if schema.get("minLength") or schema.get("minItems"):
        text += ", not empty"
    if "pattern" in schema:
        text += f" (pattern {schema['pattern']})"
    return text


def _figures(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
