"""The schema and the programs agree: what the one lets through no program refuses, and the other way round."""

import math
from importlib import import_module

import pytest
import torch

from minlm.errors import MinlmError
from minlm.generation.batched import Request, generate_batch
from minlm.generation.samples_file import Setting
from minlm.pipeline.config import resolve
from minlm.pipeline.settings import flatten, load_schema
from minlm.training.settings import TrainingSettings
from minlm.transformer import TransformerLM

SCHEMA = load_schema()
LEAVES = dict(flatten(SCHEMA))

# The programs that are given the value of a key, and the name of their flag where it is another one.
PROGRAMS = {
    "corpus.sample.valid_every": ["sample_corpus"],
    "corpus.files.valid_fraction": ["collect_files"],
    "corpus.target_total_words": ["mix"],
    "corpus.seed": ["collect_files", "mix", "build_ancients"],
    "ancients.share": ["mix", "export --ancients_share"],
    "ancients.author_year_end": ["catalog", "selection"],
    "ancients.request_delay": ["catalog", "fetch_book"],
    "ancients.max_books": ["selection"],
    "ancients.include": ["selection"],
    "ancients.exclude": ["selection"],
    "ancients.max_failed": ["build_ancients"],
    "ancients.min_words": ["build_ancients"],
    "ancients.max_words": ["build_ancients"],
    "ancients.valid_fraction": ["build_ancients"],
    "tokenizer.vocab_size": ["train_tokenizer", "train"],
    "tokenizer.shards": [],  # becomes the number of jobs
    "training.devices": [],  # is torchrun's
    "sampling.settings": [],  # below
    "sampling.max_new_tokens": ["sample"],
    "sampling.seed": ["sample"],
    **{key: ["train"] for key in LEAVES if key.startswith(("model.", "training.")) and key != "training.devices"},
}
# Values that a program takes from people, though no whole run can use them.
FOR_PEOPLE = {("selection", "max_books", 1), ("train", "vocab_size", 256)}


def numbers(schema):
    """Smallest and largest allowed value, and those just outside."""
    is_whole = "integer" in schema["type"]
    near = (lambda x, to: x + (1 if to > x else -1)) if is_whole else math.nextafter
    inside, outside = [], []
    for plain, exclusive, end in (
        ("minimum", "exclusiveMinimum", -math.inf),
        ("maximum", "exclusiveMaximum", math.inf),
    ):
        if plain in schema:
            inside.append(schema[plain])
            outside.append(near(schema[plain], end))
        else:
            outside.append(schema[exclusive])
            inside.append(near(schema[exclusive], -end))
    return inside, [*outside, *([] if is_whole else [math.inf, -math.inf, math.nan])]


def is_number(schema):
    return "integer" in schema["type"] or "number" in schema["type"]  # a word or a list of words


# Keys of numbers, with the schema of the number: of a list's items, too.
NUMBERS = [
    pytest.param(key, schema, "items" in leaf, id=key)
    for key, leaf in LEAVES.items()
    if is_number(schema := leaf.get("items", leaf))
]


def configuration(key, value):
    *sections, name = key.split(".")
    config = {name: value}
    for section in reversed(sections):
        config = {section: config}
    return config


def refused_by_schema(key, value):
    """Is this value itself refused? That it does not go together with others does not count."""
    name, single = (f"{key}.0", value[0]) if isinstance(value, list) else (key, value)
    try:
        resolve(configuration(key, value), SCHEMA)
    except MinlmError as error:
        return f"{name}: {single} is not allowed" in str(error)
    return False


def takes(program, key, value):
    """Does the program's own parser take this value?"""
    script, _, flag = program.partition(" ")
    name = flag.removeprefix("--") or key.rsplit(".", 1)[-1]
    parser = import_module(f"minlm.scripts.{script}").build_parser()
    for action in parser._actions:
        action.required = False
    positional = ["text"] if script == "train_tokenizer" else []
    try:
        made = parser.parse_args([*positional, f"--{name}={value}"])
    except SystemExit:
        return False
    given = getattr(made, name)
    assert given == value or given == [value]
    return True


@pytest.mark.parametrize(("key", "schema", "is_list"), NUMBERS)
def test_the_ends_of_each_range(key, schema, is_list, capsys):
    inside, outside = numbers(schema)
    for value in inside:
        assert not refused_by_schema(key, [value] if is_list else value), value
        assert [program for program in PROGRAMS[key] if not takes(program, key, value)] == [], value
    for value in outside:
        assert refused_by_schema(key, [value] if is_list else value), value
        taking = [program for program in PROGRAMS[key] if takes(program, key, value)]
        assert all((program, key.rsplit(".", 1)[-1], value) in FOR_PEOPLE for program in taking), (value, taking)
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert all("must be a" in line for line in errors)


def test_every_number_has_two_ends():
    for parameter in NUMBERS:
        schema = parameter.values[1]
        assert {"minimum", "exclusiveMinimum"} & schema.keys(), parameter.id
        assert {"maximum", "exclusiveMaximum"} & schema.keys(), parameter.id


@pytest.mark.parametrize("key", [key for key, leaf in LEAVES.items() if "enum" in leaf and key in PROGRAMS])
def test_choices_are_the_programs(key, capsys):
    for value in LEAVES[key]["enum"]:
        assert value is None or takes(PROGRAMS[key][0], key, value)
    name = key.rsplit(".", 1)[-1]
    if name != "device":  # a name like cuda:1 is checked by torch
        assert not takes(PROGRAMS[key][0], key, "another")


@pytest.mark.parametrize("end", [0, 1])
def test_the_training_settings_take_both_ends(end):
    """All at once, but for the length of the run, which must fit the rest."""
    values = {}
    for key, leaf in LEAVES.items():
        name = key.removeprefix("training.")
        if name in TrainingSettings.__dataclass_fields__ and is_number(leaf):
            values[name] = numbers(leaf)[0][end]
    values |= {"grad_accum_steps": 1, "warmup_iters": 0}
    assert TrainingSettings(**values).steps(context_length=1) >= 1


def test_the_sampler_takes_both_ends_of_its_settings():
    properties = LEAVES["sampling.settings"]["items"]["properties"]
    model = TransformerLM(8, context_length=4, d_model=4, num_layers=1, num_heads=1, d_ff=4)
    top_p = {**properties["top_p"], "type": "number"}
    for temperature in numbers(properties["temperature"])[0]:
        for p in numbers(top_p)[0]:
            setting = Setting.parse(f"{temperature}:{p}")
            assert (setting.temperature, setting.top_p) == (temperature, p)
            for seed in numbers(LEAVES["sampling.seed"])[0]:
                generate_batch(model, [Request([1], temperature, p, seed)], 2, 0, 8)


@pytest.mark.parametrize("end", [0, 1])
def test_a_model_with_either_end_computes_numbers(end):
    """Sizes apart, which memory limits."""
    values = {name: numbers(LEAVES[f"model.{name}"])[0][end] for name in ("rope_theta", "embedding_std")}
    model = TransformerLM(8, context_length=16, d_model=8, num_layers=1, num_heads=2, d_ff=4, **values)
    assert torch.isfinite(model(torch.arange(8)[None])).all()
