"""The configuration: defaults, types, and errors that a person understands.

`resolve` takes what Snakemake read (config.yaml, --configfile, --config, merged) and the schema, and returns the
complete configuration or raises one `MinlmError` that lists everything that is wrong with it. The module imports
nothing heavy, because every call of `snakemake` goes through it.
"""

import copy
import difflib
import glob
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from minlm.errors import MinlmError

Config = dict[str, Any]

TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")
LARGEST_ID = {"uint16": 2**16, "uint32": 2**32, "int32": 2**31, "int64": 2**63}


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
    config = _complete(copy.deepcopy(config), schema)
    errors = Draft202012Validator(schema).iter_errors(config)
    problems = [problem for error in errors for problem in _explain(error, schema)]
    problems += [f"{key}: {value} is not a number. Give one." for key, value in _leaves(config) if _is_nan(value)]
    # combinations only make sense once each value does
    return config, problems or _inconsistencies(config)


def raise_if_any(problems: list[str]) -> None:
    """Raise one `MinlmError` that lists the problems, if there are any."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise MinlmError("\n  ".join([f"the configuration has {count}:", *sorted(problems)]))


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
        unknown = [f"{key}.{name}" if key else str(name) for name in value if name not in violated["properties"]]
        return [f"{dotted}: unknown key. {_suggest(dotted, schema)}" for dotted in unknown]
    if error.validator == "required":
        return [f"{key}: {error.message}. Add it."]
    return [f"{key}: {value!r} is not allowed. Give {describe_type(violated)}."]


def _suggest(dotted: str, schema: Config) -> str:
    """The nearest valid key: the same name in another section, else a similar spelling."""
    keys = [name for name, _ in flatten(schema)] + list(schema["properties"])
    same_name = [key for key in keys if key.rsplit(".", 1)[-1] == dotted.rsplit(".", 1)[-1]]
    near = same_name or difflib.get_close_matches(dotted, keys, n=1, cutoff=0.65)
    return f"Did you mean {near[0]}?" if near else "docs/configuration.md lists all keys."


def describe_type(schema: Config) -> str:
    """A schema's type and range in words, for example "a whole number ≥ 257"."""
    if "enum" in schema:
        return "one of " + ", ".join("null" if value is None else str(value) for value in schema["enum"])
    words = {
        "integer": "a whole number", "number": "a number", "string": "a text", "boolean": "true or false",
        "array": "a list", "object": "a section with keys of its own", "null": "null",
    }  # fmt: skip
    text = " or ".join(words[kind] for kind in _types(schema))
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    ranges = [f"{sign} {schema[name]}" for name, sign in signs.items() if name in schema]
    if ranges:
        first, *rest = text.split(" or ")
        text = " or ".join([f"{first} {' and '.join(ranges)}", *rest])
    if schema.get("minLength") or schema.get("minItems"):
        text += ", not empty"
    if "pattern" in schema:
        text += f" (pattern {schema['pattern']})"
    return text


def flatten(schema: Config, prefix: str = "") -> list[tuple[str, Config]]:
    """All leaf keys of the schema, dotted, in order, with their schemas."""
    leaves: list[tuple[str, Config]] = []
    for key, child in schema["properties"].items():
        nested = child.get("properties")
        leaves += [(f"{prefix}{key}", child)] if nested is None else flatten(child, f"{prefix}{key}.")
    return leaves


# --- what does not fit together ------------------------------------------------------------------------


def _inconsistencies(config: Config) -> list[str]:
    return [*_model_problems(config), *_training_problems(config), *_corpus_problems(config)]


def _model_problems(config: Config) -> list[str]:
    model, tokenizer = config["model"], config["tokenizer"]
    d_model, num_heads = model["d_model"], model["num_heads"]
    problems = []
    if d_model % num_heads:
        problems.append(
            f"model.num_heads: d_model {d_model} is not divisible by num_heads {num_heads}. Make d_model a multiple."
        )
    elif (d_model // num_heads) % 2 and not model["no_rope"]:
        problems.append(
            f"model.num_heads: RoPE needs an even head dimension, and d_model {d_model} / num_heads {num_heads} "
            f"= {d_model // num_heads} is odd. Change one of them, or set model.no_rope."
        )
    dtype = tokenizer["output_dtype"]
    if dtype is not None and tokenizer["vocab_size"] > LARGEST_ID[dtype]:
        problems.append(
            f"tokenizer.output_dtype: {dtype} holds ids below {LARGEST_ID[dtype]:,}, too few for "
            f"vocab_size {tokenizer['vocab_size']:,}. Use null, which picks a type that fits."
        )
    return problems


def _training_problems(config: Config) -> list[str]:
    training, context_length = config["training"], config["model"]["context_length"]
    tokens_per_step = training["batch_size"] * context_length
    steps = training["total_tokens"] // tokens_per_step
    problems = []
    if steps == 0:
        problems.append(
            f"training.total_tokens: {training['total_tokens']:,} is less than one batch of {training['batch_size']} × "
            f"{context_length} = {tokens_per_step:,} tokens. Raise it, or lower batch_size or context_length."
        )
    elif training["warmup_iters"] > steps:
        problems.append(
            f"training.warmup_iters: {training['warmup_iters']:,} is longer than the run of {steps:,} steps "
            f"(total_tokens / (batch_size × context_length)). Lower it; 5 % of the run is usual."
        )
    if training["lr_min"] > training["lr_max"]:
        problems.append(f"training.lr_min: {training['lr_min']} is above lr_max {training['lr_max']}. Swap them.")
    return problems


def _corpus_problems(config: Config) -> list[str]:
    corpus, ancients = config["corpus"], config["ancients"]
    problems = []
    if ancients["min_words"] > ancients["max_words"]:
        problems.append(
            f"ancients.min_words: {ancients['min_words']} is above max_words {ancients['max_words']}. Swap them."
        )
    if corpus["source"] == "files":
        if not corpus["files"]["train"]:
            problems.append("corpus.files.train: source is `files`, but no files are named. List files or globs.")
        for split in ("train", "valid"):
            for pattern in corpus["files"][split]:
                if not glob.glob(pattern, recursive=True):
                    problems.append(f"corpus.files.{split}: no file matches {pattern!r}. Check the path.")
    return problems


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

   Mind the space behind the colons, and put `--config` and `--configfile` last: they take everything that follows.

Unknown keys, wrong types, values out of range and combinations that cannot work are reported before anything runs.
A changed value re-runs only the steps whose result depends on it."""
