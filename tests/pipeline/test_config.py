"""The configuration: what is accepted, what is refused and in which words."""

import tomllib
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as some
from jsonschema import Draft202012Validator

from minlm.errors import MinlmError
from minlm.pipeline.config import complete, reference, resolve
from minlm.pipeline.experiments import MAIN, runs
from minlm.pipeline.settings import describe_type, flatten, load_schema

ROOT = Path(__file__).parents[2]
SCHEMA = load_schema()

REFERENCE_RUN = {
    "tokenizer.vocab_size": 10000,
    "model.context_length": 256,
    "model.d_model": 512,
    "model.num_layers": 4,
    "model.num_heads": 16,
    "model.d_ff": 1344,
    "model.rope_theta": 10000.0,
    "training.batch_size": 64,
    "training.total_tokens": 163_840_000,
    "training.lr_max": 3e-4,
    "training.lr_min": 3e-5,
    "training.warmup_iters": 1000,
    "training.weight_decay": 0.1,
    "training.max_grad_norm": 1.0,
    "sampling.prompts": [
        "The",
        "Once upon a time",
        "In the ancient city,",
        "A curious child",
        "When the council met,",
    ],
    "sampling.settings": [
        {"temperature": 0.7, "top_p": 0.9},
        {"temperature": 0.9, "top_p": 0.95},
        {"temperature": 1.0, "top_p": None},
    ],
    "sampling.max_new_tokens": 256,
}


def read(*paths: str) -> dict:
    """Files merged as Snakemake merges --configfile over config.yaml."""
    merged: dict = {}
    for path in paths:
        for section, values in yaml.safe_load((ROOT / path).read_text()).items():
            merged.setdefault(section, {}).update(values)
    return merged


def get(config: dict, dotted: str):
    for key in dotted.split("."):
        config = config[key]
    return config


@pytest.mark.parametrize(("key", "value"), REFERENCE_RUN.items())
def test_schema_defaults_and_presets_are_the_reference_run(key, value):
    for config in (
        {},
        read("config.yaml", "workflow/presets/tinystories.yaml"),
        read("config.yaml", "workflow/presets/ancients.yaml"),
    ):
        if key == "sampling.prompts" and "ancients" in config:  # its own, which fit ancient texts
            continue
        assert get(resolve(config, SCHEMA), key) == value


@pytest.mark.parametrize(
    ("key", "value"),
    {
        "corpus.source": "tinystories",
        "corpus.target_total_words": None,
        "ancients.share": 0.4,
        "ancients.request_delay": 0.3,
        "ancients.author_year_end": 500,
        "ancients.languages": ["en"],
        "ancients.min_words": 500,
        "ancients.max_words": 1000,
    }.items(),
)
def test_ancients_preset(key, value):
    assert get(resolve(read("config.yaml", "workflow/presets/ancients.yaml"), SCHEMA), key) == value


def test_tinystories_preset_has_no_ancients_and_the_known_urls():
    config = resolve(read("config.yaml", "workflow/presets/tinystories.yaml"), SCHEMA)
    assert config["ancients"]["share"] == 0
    base = "https://huggingface.co/datasets/roneneldan/TinyStories/resolve/main/TinyStoriesV2-GPT4-"
    assert config["corpus"]["tinystories"]["train_url"] == f"{base}train.txt"
    assert config["corpus"]["tinystories"]["valid_url"] == f"{base}valid.txt"


def test_presets_set_every_value_that_the_quickstart_sets():
    """Nothing of the small run may shine through a preset."""
    quickstart = read("config.yaml")
    for preset in ("tinystories", "ancients", "fineweb_edu"):
        config = read("config.yaml", f"workflow/presets/{preset}.yaml")
        for key, leaf in flatten(SCHEMA):
            section, *rest = key.split(".")
            if section in ("run", "corpus", "ancients") or rest[0] not in quickstart.get(section, {}):
                continue
            preset_sets_it = rest[0] in yaml.safe_load((ROOT / f"workflow/presets/{preset}.yaml").read_text())[section]
            assert preset_sets_it or get(config, key) == leaf["default"], f"{preset}: {key}"


def test_every_key_is_described_and_has_a_default():
    for key, leaf in flatten(SCHEMA):
        assert leaf["description"].strip(), key
        assert "default" in leaf, key
        assert describe_type(leaf), key


def test_quickstart_comments_every_key_it_sets():
    section = ""
    for line in (ROOT / "config.yaml").read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            section = line
    assert section == "experiments: {}"  # all sections are there, in the schema's order
    assert ["run", *read("config.yaml")] == list(SCHEMA["properties"])  # a name is for single runs
    for name, values in read("config.yaml").items():
        known = [key for key, _ in flatten(SCHEMA)]
        for key, value in values.items():
            if not isinstance(value, dict):
                assert f"{name}.{key}" in known


def test_configuration_page_is_in_step_with_the_schema():
    page = (ROOT / "docs/configuration.md").read_text()
    assert page == reference(SCHEMA), "run `make docs`"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"training": {"lr_max": "1e-3"}}, ("training.lr_max", 1e-3)),
        ({"model": {"d_model": 192.0, "num_heads": 4}}, ("model.d_model", 192)),
        ({"training": {"total_tokens": "2e8"}}, ("training.total_tokens", 200_000_000)),
        ({"training": {"total_tokens": "163_840_000"}}, ("training.total_tokens", 163_840_000)),
        ({"model": {"no_rope": "true"}}, ("model.no_rope", True)),
        ({"model": {"no_rope": "off"}}, ("model.no_rope", False)),
        ({"ancients": {"max_books": "null"}}, ("ancients.max_books", None)),
        ({"ancients": {"include": ["11", "12"]}}, ("ancients.include", [11, 12])),
        ({"tokenizer": {"output_dtype": "null"}}, ("tokenizer.output_dtype", None)),
        (
            {"sampling": {"settings": [{"temperature": "0"}]}},
            ("sampling.settings", [{"temperature": 0, "top_p": None}]),
        ),
        ({"sampling": {"prompts": ["3", "true"]}}, ("sampling.prompts", ["3", "true"])),
        ({"tokenizer": None}, ("tokenizer.vocab_size", 10000)),
    ],
)
def test_strings_from_the_command_line_become_what_the_schema_wants(config, expected):
    key, value = expected
    result = get(resolve(config, SCHEMA), key)
    assert result == value
    assert type(result) is type(value)


def test_resolve_leaves_its_argument_alone():
    config = {"model": {"d_model": "256"}}
    resolve(config, SCHEMA)
    assert config == {"model": {"d_model": "256"}}


@pytest.mark.parametrize(
    ("config", "key", "advice"),
    [
        ({"trainig": {}}, "trainig:", "training"),
        ({"xyzzy": {"quux": 1}}, "xyzzy:", "docs/configuration.md"),
        ({"model": {"d_modle": 1}}, "model.d_modle:", "model.d_model"),
        ({"model": {"lr_max": 1}}, "model.lr_max:", "training.lr_max"),
        ({"model": 3}, "model:", "section"),
        ({"training": {"batch_size": "many"}}, "training.batch_size:", "whole number ≥ 1"),
        ({"training": {"total_tokens": "nan"}}, "training.total_tokens:", "whole number"),
        ({"training": {"total_tokens": "inf"}}, "training.total_tokens:", "whole number"),
        ({"training": {"lr_max": float("nan")}}, "training.lr_max:", "a number ≥ 1e-12"),
        ({"training": {"max_grad_norm": float("inf")}}, "training.max_grad_norm:", "≤ 1e+30"),
        ({"training": {"batch_size": 1.5}}, "training.batch_size:", "whole number"),
        (
            {"model": {"d_model:256": None}},
            "model.d_model:256:",
            "the space after the colon is missing. Write d_model: 256",
        ),
        ({"model.d_model": 256}, "model.d_model:", "Write model: {d_model: …}"),
        ({"training": {"seed": 2**64}}, "training.seed:", "≤ 1,000,000,000,000,000,000"),
        ({"training": {"seed": 1 << 20_000}}, "training.seed:", "too large"),
        ({"model": {"context_length": 10**9}}, "model.context_length:", "≤ 65,536"),
        ({"model": {"d_model": 2**16, "num_layers": 1000}}, "model.d_model:", "parameters, more than 100,000,000,000"),
        ({"training": {"grad_accum_steps": 7}}, "training.grad_accum_steps:", "does not divide into 7 equal parts"),
        ({"corpus": {"tinystories": {"train_url": "ftp://a/b"}}}, "corpus.tinystories.train_url:", "http"),
        ({"corpus": {"tinystories": {"train_sha256": "a" * 64 + "\n"}}}, "corpus.tinystories.train_sha256:", "64 hex"),
        ({"ancients": {"gutendex_url": "http://"}}, "ancients.gutendex_url:", "http"),
        ({"ancients": {"languages": ["--en"]}}, "ancients.languages.0:", "code"),
        ({"sampling": {"prompts": ["a\0"]}}, "sampling.prompts.0:", "a character that no program takes"),
        ({"sampling": {"prompts": ["\ud800"]}}, "sampling.prompts.0:", "a character that no program takes"),
        ({"sampling": {"prompts": ["a" * 9999] * 51}}, "sampling.prompts:", "Give fewer"),
        ({"experiments": {1: {}}}, "experiments:", "1 cannot be a key"),
        ({"experiments": {"a\n": {}}}, "experiments:", "'a\\n' cannot be a key"),
        ({"experiments": {"$(a)": {}}}, "experiments:", "a name of at most 100 letters"),
        ({"experiments": {"a" * 101: {}}}, "experiments:", "a name of at most 100 letters"),
        ({"ancients": {"share": 1.2}}, "ancients.share:", "≤ 1"),
        ({"ancients": {"share": -0.1}}, "ancients.share:", "≥ 0"),
        ({"tokenizer": {"vocab_size": 256}}, "tokenizer.vocab_size:", "≥ 257"),
        (
            {"tokenizer": {"vocab_size": 257, "special_tokens": ["<|endoftext|>", "<x>"]}},
            "tokenizer.vocab_size:",
            "Give 258",
        ),
        ({"tokenizer": {"special_tokens": ["<x>"]}}, "tokenizer.special_tokens:", "<|endoftext|>"),
        ({"tokenizer": {"special_tokens": ["<|endoftext|>"] * 2}}, "tokenizer.special_tokens:", "none twice"),
        ({"tokenizer": {"pattern": "gpt5("}}, "tokenizer.pattern:", "none of gpt2, gpt4, marks"),
        ({"tokenizer": {"vocab_size": 70000, "output_dtype": "uint16"}}, "tokenizer.output_dtype:", "null"),
        ({"model": {"d_model": 100, "num_heads": 3}}, "model.num_heads:", "multiple"),
        ({"model": {"d_model": 15, "num_heads": 3}}, "model.num_heads:", "even head dimension"),
        ({"training": {"total_tokens": 100}}, "training.total_tokens:", "one batch"),
        ({"training": {"warmup_iters": 20_000}}, "training.warmup_iters:", "longer than the run"),
        ({"training": {"lr_min": 1.0}}, "training.lr_min:", "lr_max"),
        ({"corpus": {"source": "wikipedia"}}, "corpus.source:", "tinystories"),
        ({"corpus": {"source": "files"}}, "corpus.files.train:", "List files"),
        (
            {"corpus": {"source": "files", "files": {"train": ["no/such/*.txt"]}}},
            "corpus.files.train:",
            "no file matches",
        ),
        ({"ancients": {"min_words": 9, "max_words": 3}}, "ancients.min_words:", "max_words"),
        ({"sampling": {"prompts": []}}, "sampling.prompts:", "not empty"),
        ({"sampling": {"settings": [{"top_p": 0.5}]}}, "sampling.settings.0:", "temperature"),
        ({"sampling": {"settings": [{"temperature": 1, "top_p": 0}]}}, "sampling.settings.0.top_p:", "> 0"),
    ],
)
def test_bad_values_are_one_line_with_key_and_advice(config, key, advice):
    with pytest.raises(MinlmError) as caught:
        resolve(config, SCHEMA)
    head, *problems = str(caught.value).splitlines()
    assert head == "the configuration has 1 problem:"
    assert len(problems) == 1
    assert problems[0].strip().startswith(key)
    assert advice in problems[0]


def test_all_problems_are_reported_at_once():
    config = {"model": {"d_modle": 1, "hedas": 2}, "training": {"batch_size": 0}, "extra": 1}
    with pytest.raises(MinlmError) as caught:
        resolve(config, SCHEMA)
    assert len(str(caught.value).splitlines()) == 1 + 4
    assert str(caught.value).startswith("the configuration has 4 problems:")


@pytest.mark.parametrize("text", ["&x {a: *x}", "&x [*x]", "&x {sweep: {training.seed: [*x]}}", "&x {d_ff: [1, *x]}"])
@pytest.mark.parametrize("place", [lambda value: {"model": value}, lambda value: {"experiments": {"a": value}}])
def test_an_anchor_that_contains_itself(text, place):
    with pytest.raises(MinlmError, match="Does an anchor"):
        resolve(place(yaml.safe_load(text)), SCHEMA)


def test_anchors_that_grow_without_end():
    value = [0] * 10
    for _ in range(12):
        value = [value] * 10
    with pytest.raises(MinlmError, match=r"more than 1,000,000 values"):
        resolve({"corpus": {"files": {"train": value}}}, SCHEMA)


def test_what_an_anchor_shares_is_completed_apart():
    """The defaults that complete `training` are no overrides of the variant."""
    config = yaml.safe_load("{training: &t {lr_max: 1.0e-3}, experiments: {a: {training: *t}}}")
    assert resolve(config, SCHEMA)["experiments"] == {"a": {"training": {"lr_max": 1e-3}}}


KEYS = [key for key, _ in flatten(SCHEMA)]
WORDS = some.sampled_from(
    [*KEYS, *SCHEMA["properties"], *(key.rsplit(".", 1)[-1] for key in KEYS), "sweep", "a", "a.b", ".", "d_model:3"]
)
VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=5) | some.dates()
    | some.binary(max_size=2) | WORDS | some.sampled_from(["1e400", "-5", "null", "on", "٣", "²", "1_0", "9" * 5000]),
    lambda inner: some.lists(inner, max_size=3)
    | some.dictionaries(WORDS | some.integers() | some.none(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=150)
@given(
    some.dictionaries(WORDS, VALUES, max_size=3), some.dictionaries(some.sampled_from(["a", "b-1"]), VALUES, max_size=2)
)
def test_whatever_yaml_holds_is_a_configuration_or_a_clear_error(config, experiments):
    try:
        made = runs(resolve({**config, "experiments": experiments}, SCHEMA), SCHEMA)
    except MinlmError as error:
        head, *problems = str(error).splitlines()
        assert head.startswith("the configuration has ")
        assert problems
        assert all(problem.startswith("  ") and len(problem) < 1000 for problem in problems)
    else:
        assert MAIN in made


@settings(max_examples=150)
@given(some.sampled_from(flatten(SCHEMA)), VALUES)
def test_whatever_a_key_is_given(leaf, value):
    """The same for a single key, where more of what is generated gets past the schema."""
    *sections, name = leaf[0].split(".")
    config = {name: value}
    for section in reversed(sections):
        config = {section: config}
    try:
        made = resolve(config, SCHEMA)
    except MinlmError:
        return
    assert resolve(made, SCHEMA) == made


def has_quirk(value) -> bool:
    """Numbers that JSON does not have; and a last line end, which Python's `$` overlooks."""
    if isinstance(value, dict | list):
        return any(map(has_quirk, value.values() if isinstance(value, dict) else value))
    return value != value or value in (float("inf"), float("-inf")) or str(value).endswith("\n")


@settings(max_examples=150)
@given(some.sampled_from(flatten(SCHEMA)), VALUES)
def test_the_check_is_json_schemas(leaf, value):
    """The schema is a JSON Schema, and the library `jsonschema` allows and refuses what the configuration does."""
    *sections, name = leaf[0].split(".")
    config = {name: value}
    for section in reversed(sections):
        config = {section: config}
    completed, problems = complete(config, SCHEMA)
    refused = [line for line in problems if "is not allowed" in line or "unknown key" in line or "is missing" in line]
    if completed is not config and not has_quirk(value):  # otherwise it is malformed
        assert Draft202012Validator(SCHEMA).is_valid(completed) == (not refused), problems


def test_the_schema_is_in_the_package():
    """An installed package has it, too: its programs read it."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert load_schema.__wrapped__.__defaults__[0].name in listed["minlm.pipeline"]
    Draft202012Validator.check_schema(SCHEMA)
