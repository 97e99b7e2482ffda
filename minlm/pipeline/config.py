"""The configuration: defaults, types, and errors that a person understands.

`resolve` takes what Snakemake read (config.yaml, --configfile and --config, merged) and the schema. It returns the
complete configuration, or raises one `MinlmError` that lists all problems. Every call of `snakemake` imports this
module, so it imports nothing heavy.
"""

import copy
import difflib
import reprlib
from collections.abc import Iterator
from typing import Any

import yaml

from minlm.errors import MinlmError
from minlm.pipeline.consistency import inconsistencies
from minlm.pipeline.settings import Schema, coerce, describe_type, fits, flatten, types

Config = dict[str, Any]

DEEPEST, MOST_VALUES = 20, 10**6  # of a configuration; a list or section that contains itself has no end


def resolve(config: Config, schema: Schema) -> Config:
    """Return a complete copy of `config`: texts converted to the schema's types, defaults filled in.

    Raises:
        MinlmError: one line per problem: dotted key, what is wrong, what to do.
    """
    config, problems = complete(config, schema)
    raise_if_any(problems)
    return config


def complete(config: Config, schema: Schema) -> tuple[Config, list[str]]:
    """The complete configuration, as `resolve` returns it, and one line for each problem."""
    if problems := _malformed(config):
        return config, problems
    config = _complete(_without_sharing(config), schema)
    problems = list(_problems(config, schema, "", schema))
    # combinations only make sense once each value does
    return config, problems or inconsistencies(config)


def raise_if_any(problems: list[str]) -> None:
    """Raise one `MinlmError` that lists the problems, if there are any."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise MinlmError("\n  ".join([f"the configuration has {count}:", *sorted(problems)]))


def _malformed(config: Config) -> list[str]:
    """Problems that are wrong in any setting: the code after this need not expect them."""
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


def _without_sharing(value: Any) -> Any:
    """A deep copy in which no two parts are the same object, as they are where YAML has an anchor."""
    if isinstance(value, dict):
        return {key: _without_sharing(child) for key, child in value.items()}
    return [_without_sharing(child) for child in value] if isinstance(value, list) else value


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


def _complete(value: Any, schema: Schema) -> Any:
    """Fill in defaults and convert texts, recursively."""
    if isinstance(value, dict):
        for key, child in schema.get("properties", {}).items():
            if key not in value and "default" in child:
                value[key] = copy.deepcopy(child["default"])
            if key in value:
                value[key] = _complete(value[key], child)
        if isinstance(others := schema.get("additionalProperties"), dict):  # the user chooses these names
            value.update({key: _complete(value[key], others) for key in value if key not in schema["properties"]})
        return value
    if isinstance(value, list):
        return [_complete(item, schema.get("items", {})) for item in value]
    if isinstance(value, float) and value.is_integer() and "integer" in types(schema):
        return int(value)
    if value is None and types(schema) == ["object"]:  # a section whose keys are all commented out
        return _complete({}, schema)
    if isinstance(value, bool) and "on" in schema.get("enum", ()):  # YAML reads a bare on as true
        return "on" if value else "off"
    return coerce(value, schema) if isinstance(value, str) else value


# --- problems of single values ------------------------------------------------------------------------


def _problems(value: Any, schema: Schema, key: str, root: Schema) -> Iterator[str]:
    """One line for each value that its schema does not allow, and for each unknown or missing key."""
    if not fits(value, schema):
        yield _not_allowed(key, value, schema)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _problems(item, schema.get("items", {}), f"{key}.{index}", root)
    elif isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        yield from (f"{key}: {name} is missing. Add it." for name in schema.get("required", []) if name not in value)
        for name, child in value.items():
            place = f"{key}.{name}" if key else name
            if others is False and name not in known:
                yield _unknown(place, name, root)
            elif not fits(name, names := schema.get("propertyNames", {})):
                yield _not_allowed(key, name, names)
            else:
                yield from _problems(child, known.get(name, others), place, root)


def _not_allowed(key: str, value: Any, schema: Schema) -> str:
    return f"{key}: {_short(value)} is not allowed. Give {describe_type(schema)}."


def _unknown(dotted: str, name: str, schema: Schema) -> str:
    left, colon, right = name.partition(":")
    if colon:
        return f"{dotted}: the space after the colon is missing. Write {left}: {right.strip()}"
    return f"{dotted}: unknown key. {_suggest(dotted, schema)}"


def _suggest(dotted: str, schema: Schema) -> str:
    """The nearest valid key: the same name in another section, else a similar spelling."""
    keys = [name for name, _ in flatten(schema)] + list(schema["properties"])
    if dotted in keys:
        section, _, rest = dotted.partition(".")
        return f"Write {section}: {{{rest}: …}}"
    same_name = [key for key in keys if key.rsplit(".", 1)[-1] == dotted.rsplit(".", 1)[-1]]
    near = same_name or difflib.get_close_matches(dotted, keys, n=1, cutoff=0.65)
    return f"Did you mean {near[0]}?" if near else "docs/configuration.md lists all keys."


# --- the reference for people ------------------------------------------------------------------------


def reference(schema: Schema) -> str:
    """docs/configuration.md: every key with its type, range, default and meaning."""
    lines = [REFERENCE_HEAD]
    for name, section in schema["properties"].items():
        lines += [f"\n## {name}\n", section["description"].strip()]
        if not section.get("properties"):  # a single value, or a section whose keys the user chooses
            continue
        lines += ["\n| key | value | default | meaning |", "|---|---|---|---|"]
        for key, leaf in flatten(section, f"{name}."):
            kind = describe_type(leaf).replace("|", "\\|")
            default = yaml.safe_dump(leaf["default"], default_flow_style=True, width=1000).removesuffix("...\n").strip()
            meaning = " ".join(leaf["description"].split()).replace("|", "\\|")
            if leaf.get("x-reruns") == "nothing":
                meaning += " Changing it re-runs nothing."
            lines.append(f"| `{key}` | {kind} | `{default}` | {meaning} |")
    return "\n".join(lines) + "\n"


REFERENCE_HEAD = """\
# Configuration

`make docs` writes this page from `minlm/pipeline/config.schema.yaml`; edit that file instead.

The configuration comes from three places; later ones win:

1. The schema's defaults: the values of the reference run.
2. `config.yaml`, which every call reads: a small run.
3. The command line. `--configfile FILE` adds the values of a file (`workflow/presets/` has some). Sections are merged
   key by key, lists are replaced. `--config` sets single values, written as YAML, one section after another:

   ```sh
   snakemake --cores 2 results/samples.txt --config 'model={d_model: 256, num_heads: 8}' 'training={lr_max: 1e-3}'
   ```

   Mind the space after the colons, and put `--config` and `--configfile` last: they take everything that follows.

Unknown keys, wrong types, values out of range and combinations that cannot work are reported before anything runs.
A changed value re-runs only the steps whose result depends on it. `null` means that no value is given."""
