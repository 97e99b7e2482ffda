"""The schema, the programs and the library agree: name, type, range, choices, default and meaning of each setting."""

import inspect
import math
from importlib import import_module

import pytest
import torch

from minlm.corpus.bible import write_sample
from minlm.corpus.chat import collect_chat
from minlm.corpus.gutenberg.catalog import write_catalog
from minlm.corpus.gutenberg.chunks import build_ancients
from minlm.corpus.gutenberg.selection import write_selection
from minlm.corpus.local_files import collect_files
from minlm.corpus.mix import mix_corpora
from minlm.errors import MinlmError
from minlm.generation.batched import Request, generate_batch
from minlm.generation.samples_file import Setting
from minlm.pipeline.config import resolve
from minlm.pipeline.runs import NOT_FLAGS
from minlm.pipeline.settings import defaults, flatten, load_schema
from minlm.training.settings import TrainingSettings
from minlm.transformer import TransformerLM

SCHEMA = load_schema()
LEAVES = dict(flatten(SCHEMA))

# The programs that are given the value of a key, and the name of their flag where it is another one.
PROGRAMS = {
    "corpus.sample.valid_every": ["sample_corpus"],
    "corpus.files.valid_fraction": ["collect_files"],
    "corpus.target_total_words": ["mix"],
    "corpus.chat.valid_fraction": ["collect_chat"],
    "corpus.seed": ["collect_files", "collect_chat", "mix", "build_ancients"],
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
    "sampling.prompts": ["sample"],
    "sampling.max_new_tokens": ["sample", "generate --max_tokens"],
    "sampling.seed": ["sample", "generate"],
    "corpus.source": ["export --corpus_source"],
    "corpus.files.documents": ["collect_files"],
    "corpus.files.text_field": ["collect_files"],
    "ancients.gutendex_url": ["catalog"],
    "ancients.languages": ["catalog"],
    "ancients.light_cleaning": ["clean_book --light"],
    "ancients.keep_typography": ["clean_book"],
    "tokenizer.pattern": ["train_tokenizer", "count_words"],
    "tokenizer.special_tokens": ["train_tokenizer", "count_words", "tokenize --special_tokens"],
    "tokenizer.output_dtype": ["tokenize", "tokenize_chat"],
    # The workflow itself uses these, or gives them to a program in another form.
    **{key: [] for key in LEAVES if key.startswith("corpus.tinystories.")},
    "corpus.files.train": [],
    "corpus.files.valid": [],
    "corpus.chat.train": [],
    "corpus.chat.valid": [],
    "corpus.urls.train": [],
    "corpus.urls.valid": [],
    "corpus.license": [],
    "tokenizer.shards": [],
    "run": [],
    "training.devices": [],
    "training.bigram_init": [],
    "training.init_from": [],
    "training.use_checkpoint": [],
    "sampling.settings": [],
    **{key: ["train"] for key in LEAVES if key.startswith(("model.", "training.")) and key not in NOT_FLAGS},
}
# Flags that mean something else to a person than to a run: their own default and sentence.
OWN_DEFAULT = {"export --corpus_source": None, "generate --max_tokens": 100, "generate": None}
OWN_SENTENCE = {"export --corpus_source", "generate", "tokenize --special_tokens"}
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


def flag_of(program, key):
    """The program's parser and the action of the setting's flag."""
    script, _, flag = program.partition(" ")
    parser = import_module(f"minlm.scripts.{script}").build_parser()
    return parser, parser._option_string_actions[flag or f"--{key.rsplit('.', 1)[-1]}"]


def takes(program, key, value):
    """Does the program's own parser take this value?"""
    parser, action = flag_of(program, key)
    name = action.dest
    for action in parser._actions:
        action.required = False
    positional = ["text"] if program == "train_tokenizer" else []
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


def test_every_setting_has_a_flag_or_a_reason():
    assert PROGRAMS.keys() == LEAVES.keys()


@pytest.mark.parametrize(("key", "program"), [(key, program) for key in PROGRAMS for program in PROGRAMS[key]])
def test_a_flag_is_the_setting(key, program):
    leaf, (_, action) = LEAVES[key], flag_of(program, key)
    assert action.default == OWN_DEFAULT.get(program, leaf["default"])
    assert type(action.default) is type(OWN_DEFAULT.get(program, leaf["default"]))
    if program not in OWN_SENTENCE:
        assert " ".join(leaf["description"].split()).removesuffix(".") in action.help.replace("%%", "%")
    if "enum" in leaf and key != "training.device":  # a name like cuda:1 is checked by torch
        assert action.choices == [value for value in leaf["enum"] if value is not None]
    if leaf["type"] == "boolean":
        for text, value in {"true": True, "false": False}.items():
            assert action.type(text) is value
        assert action.const is True


def test_the_training_settings_are_the_schemas():
    assert vars(TrainingSettings()).items() <= defaults("training").items()


@pytest.mark.parametrize(
    ("function", "sections"),
    [
        (TransformerLM, ["model"]),
        (collect_files, ["corpus.files", "corpus"]),
        (collect_chat, ["corpus.chat", "corpus"]),
        (build_ancients, ["ancients", "corpus"]),
        (write_sample, ["corpus.sample"]),
        (mix_corpora, ["corpus", "ancients"]),
        (write_catalog, ["ancients"]),
        (write_selection, ["ancients"]),
    ],
)
def test_defaults_of_the_library_are_the_schemas(function, sections):
    """`flash_attention` apart: the class is the reference, without speed."""
    stated = {name: default for section in reversed(sections) for name, default in defaults(section).items()}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in stated and name != "flash_attention" and parameter.default is not parameter.empty:
            assert parameter.default == stated[name], name


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
