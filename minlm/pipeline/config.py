"""The configuration: defaults, types, and errors that a person understands.

`resolve` takes what Snakemake read (config.yaml, --configfile, --config, merged) and the schema, and returns the
complete configuration or raises one `MinlmError` that lists everything that is wrong with it. The module imports
nothing heavy, because every call of `snakemake` goes through it.
"""

import copy
import difflib
import math
import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from minlm.errors import MinlmError
from minlm.pipeline.consistency import inconsistencies

Config = dict[str, Any]

TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")
DEEPEST, MOST_VALUES = 20, 10**6  # of a configuration; a list or section that contains itself has no end


def load_schema(path: str | Path) -> Config:
    """Read the JSON schema (written as YAML)."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where it is: 10 times as fast
    return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=loader)


def resolve(config: Config, schema: Config) -> Config:
    """Return a complete copy of `config`: strings coerced to the schema's types, defaults filled in.

    Raises:
        MinlmError: one line per problem: dotted key, what is wrong, what to do.
    """
    config, problems = complete(config, schema)
    raise_if_any(problems)
    return config


def complete(config: Config, schema: Config) -> tuple[Config, list[str]]:
    """What `resolve` returns, and one line for each problem."""
    if problems := _misshapen(config):
        return config, problems
    config = _complete(_apart(config), schema)
    errors = Validator(schema).iter_errors(config)
    problems = [problem for error in errors if not _is_nan(error.instance) for problem in _explain(error, schema)]
    problems += [f"{key}: {value} is not a number. Give one." for key, value in _leaves(config) if _is_nan(value)]
    # combinations only make sense once each value does
    return config, problems or inconsistencies(config)


def raise_if_any(problems: list[str]) -> None:
    """Raise one `MinlmError` that lists the problems, if there are any."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise MinlmError("\n  ".join([f"the configuration has {count}:", *sorted(problems)]))


def _pattern(validator: Any, pattern: str, value: Any, schema: Config) -> Iterator[ValidationError]:
    """JSON Schema's `$` is the end of the text; Python's also matches before a last line end."""
    if isinstance(value, str) and (value.endswith("\n") or not re.search(pattern, value)):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


Validator = extend(Draft202012Validator, {"pattern": _pattern})


def _misshapen(config: Config) -> list[str]:
    """What no setting can hold, so that everything else need not expect it."""
    problems: list[str] = []
    left: list[tuple[str, Any, int]] = [("", config, 0)]
    for _ in range(MOST_VALUES):
        if not left:
            return problems
        where, value, depth = left.pop()
        if depth > DEEPEST:
            problems.append(f"{where[:60]}…: nested more than {DEEPEST} deep. Does an anchor (&) contain itself?")
        elif isinstance(value, dict):
            for key, child in value.items():
                if isinstance(key, str) and key.isprintable() and key:
                    left.append((f"{where}.{key}" if where else key, child, depth + 1))
                else:
                    problems.append(
                        f"{where or 'top level'}: {_short(key)} cannot be a key. Put numbers, true and null in quotes."
                    )
        elif isinstance(value, list):
            left += [(f"{where}.{index}", child, depth + 1) for index, child in enumerate(value)]
        elif isinstance(value, str) and not _can_be_argument(value):
            problems.append(f"{where}: {_short(value)} has a character that no program takes. Remove it.")
        elif isinstance(value, int) and value.bit_length() > 1000:
            problems.append(f"{where}: the number is too large.")
        if len(problems) > 20:
            return problems
    return [*problems, f"more than {MOST_VALUES:,} values. Does an anchor (&) contain itself?"]


def _apart(value: Any) -> Any:
    """A copy in which no two parts are one object, as they are where YAML has an anchor."""
    if isinstance(value, dict):
        return {key: _apart(child) for key, child in value.items()}
    return [_apart(child) for child in value] if isinstance(value, list) else value


def _can_be_argument(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _short(value: Any) -> str:
    """A value in an error: on one line, not too long."""
    shortener = reprlib.Repr()
    shortener.maxstring = shortener.maxother = 100
    return shortener.repr(value)


# --- types and defaults ------------------------------------------------------------------------


def _complete(value: Any, schema: Config) -> Any:
    """Fill in defaults and coerce strings, recursively."""
    if isinstance(value, dict):
        for key, child in schema.get("properties", {}).items():
            if key not in value and "default" in child:
                value[key] = copy.deepcopy(child["default"])
            if key in value:
                value[key] = _complete(value[key], child)
        if isinstance(others := schema.get("additionalProperties"), dict):  # names that are up to the user
            value.update({key: _complete(value[key], others) for key in value if key not in schema["properties"]})
        return value
    if isinstance(value, list):
        return [_complete(item, schema.get("items", {})) for item in value]
    if isinstance(value, float) and value.is_integer() and "integer" in _types(schema):
        return int(value)
    if value is None and _types(schema) == ["object"]:  # a section whose keys are all commented out
        return _complete({}, schema)
    if isinstance(value, bool) and "on" in schema.get("enum", ()):  # YAML reads a bare on as true
        return "on" if value else "off"
    return _coerce(value, _types(schema)) if isinstance(value, str) else value


def _coerce(text: str, types: list[str]) -> Any:
    """A string where the schema wants something else: from `--config`, or YAML's reading of 3e-4 as text."""
    if "string" in types:
        return None if text == "null" and "null" in types else text
    if "null" in types and text in ("null", "~", ""):
        return None
    if "boolean" in types and text.lower() in (*TRUE, *FALSE):
        return text.lower() in TRUE
    try:
        number = float(text)
    except ValueError:
        return text
    if "integer" in types and number.is_integer():
        return int(text) if text.lstrip("+-").replace("_", "").isdigit() else int(number)
    return number if "number" in types else text


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All values of a configuration with their dotted keys."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if children is None:
        yield prefix, value
    for key, child in children or ():
        yield from _leaves(child, f"{prefix}.{key}" if prefix else str(key))


def _is_nan(value: Any) -> bool:
    """JSON knows neither NaN nor infinity, and its ranges let them through."""
    return isinstance(value, float) and not math.isfinite(value)


def _types(schema: Config) -> list[str]:
    kind = schema.get("type", [])
    return [kind] if isinstance(kind, str) else kind


# --- what is wrong with single values ------------------------------------------------------------------------


def _explain(error: ValidationError, schema: Config) -> list[str]:
    """Lines for one violation of the schema (a section can have several unknown keys)."""
    key = ".".join(str(part) for part in error.absolute_path)
    value: Any = error.instance
    violated: Any = error.schema
    if error.validator == "additionalProperties":
        unknown = [name for name in value if name not in violated["properties"]]
        return [_unknown(f"{key}.{name}" if key else name, name, schema) for name in unknown]
    if error.validator == "required":
        return [f"{key}: {error.message}. Add it."]
    return [f"{key}: {_short(value)} is not allowed. Give {describe_type(violated)}."]


def _unknown(dotted: str, name: str, schema: Config) -> str:
    left, colon, right = name.partition(":")
    if colon:
        return f"{dotted}: the space after the colon is missing. Write {left}: {right.strip()}"
    return f"{dotted}: unknown key. {_suggest(dotted, schema)}"


def _suggest(dotted: str, schema: Config) -> str:
    """The nearest valid key: the same name in another section, else a similar spelling."""
    keys = [name for name, _ in flatten(schema)] + list(schema["properties"])
    if dotted in keys:
        section, _, rest = dotted.partition(".")
        return f"Write {section}: {{{rest}: …}}"
    same_name = [key for key in keys if key.rsplit(".", 1)[-1] == dotted.rsplit(".", 1)[-1]]
    near = same_name or difflib.get_close_matches(dotted, keys, n=1, cutoff=0.65)
    return f"Did you mean {near[0]}?" if near else "docs/configuration.md lists all keys."


def describe_type(schema: Config) -> str:
    """A schema's type and range in words, for example "a whole number ≥ 257"."""
    if "title" in schema:
        return str(schema["title"])
    if "enum" in schema:
        return "one of " + ", ".join("null" if value is None else str(value) for value in schema["enum"])
    words = {
        "integer": "a whole number", "number": "a number", "string": "a text", "boolean": "true or false",
        "array": "a list", "object": "a section with keys of its own", "null": "null",
    }  # fmt: skip
    text = " or ".join(words[kind] for kind in _types(schema))
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


def flatten(schema: Config, prefix: str = "") -> list[tuple[str, Config]]:
    """All leaf keys of the schema, dotted, in order, with their schemas."""
    leaves: list[tuple[str, Config]] = []
    for key, child in schema["properties"].items():
        nested = child.get("properties")
        leaves += [(f"{prefix}{key}", child)] if nested is None else flatten(child, f"{prefix}{key}.")
    return leaves


# --- the reference for people ------------------------------------------------------------------------


def reference(schema: Config) -> str:
    """docs/configuration.md: every key with its type, range, default and meaning."""
    lines = [REFERENCE_HEAD]
    for name, section in schema["properties"].items():
        lines += [f"\n## {name}\n", section["description"].strip()]
        if not section["properties"]:  # its keys are up to the user
            continue
        lines += ["\n| key | value | default | meaning |", "|---|---|---|---|"]
        for key, leaf in flatten(section, f"{name}."):
            kind = describe_type(leaf).replace("|", "\\|")
            default = yaml.safe_dump(leaf["default"], default_flow_style=True, width=1000).removesuffix("...\n").strip()
            meaning = " ".join(leaf["description"].split()).replace("|", "\\|")
            lines.append(f"| `{key}` | {kind} | `{default}` | {meaning} |")
    return "\n".join(lines) + "\n"


REFERENCE_HEAD = """\
# Configuration

This page is written from `workflow/schemas/config.schema.yaml` by `make docs`; edit that file instead.

The configuration is put together from three places; later ones win:

1. The schema's defaults: the values of the reference run.
2. `config.yaml`, read by every call: the small run you get without asking for another one.
3. The command line. `--configfile FILE` lays a file over it (`workflow/presets/` has ready ones); mappings are merged
   key by key, lists are replaced. `--config` sets single values, written as YAML, a section at a time:

   ```
   snakemake --cores 2 results/samples.txt --config 'model={d_model: 256, num_heads: 8}' 'training={lr_max: 1e-3}'
   ```

   Mind the space after the colons, and put `--config` and `--configfile` last: they take everything that follows.

Unknown keys, wrong types, values out of range and combinations that cannot work are reported before anything runs.
A changed value re-runs only the steps whose result depends on it."""
