from pathlib import Path

import pytest

from minlm.errors import MinlmError
from minlm.pipeline.config import resolve
from minlm.pipeline.experiments import differences, runs
from minlm.pipeline.settings import flatten, load_schema, rerun_nothing
from minlm.pipeline.stages import computed_by, may_vary, replicates

ROOT = Path(__file__).parents[2]
SCHEMA = load_schema()


def runs_of(experiments, **config):
    return runs(resolve({**config, "experiments": experiments}, SCHEMA), SCHEMA)


def names(made):
    return [run.removeprefix("experiments/").rstrip("/") for run in made][1:]


def test_nested_and_dotted_keys_mean_the_same():
    made = runs_of(
        {"nested": {"model": {"d_model": 64, "num_heads": 2}}, "dotted": {"model.d_model": 64, "model.num_heads": 2}}
    )
    assert made["experiments/nested/"] == made["experiments/dotted/"]
    assert made["experiments/nested/"]["model"]["d_model"] == 64
    assert made["experiments/nested/"]["model"]["d_ff"] == made[""]["model"]["d_ff"]


def test_a_sweep_is_every_combination_with_readable_names():
    made = runs_of(
        {
            "lr": {
                "sweep": {"training.lr_max": ["1e-4", 3.0e-4, 0.001], "model.no_rope": [True, False]},
                "training.lr_min": 1e-5,
            }
        }
    )
    assert names(made) == [
        f"lr-lr_max={lr}-no_rope={rope}" for lr in ("0.0001", "0.0003", "0.001") for rope in ("true", "false")
    ]
    assert made["experiments/lr-lr_max=0.0001-no_rope=true/"]["training"]["lr_max"] == 1e-4
    assert {run["training"]["lr_min"] for name, run in made.items() if name} == {1e-5}


def test_names_contain_the_whole_key_if_the_last_word_is_ambiguous():
    made = runs_of({"s": {"sweep": {"training.seed": [1], "sampling.seed": [2]}}})
    assert names(made) == ["s-training.seed=1-sampling.seed=2"]


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        ({"sampling.prompts": [["it's $(touch X)"], ["b"]]}, ["s-prompts=1", "s-prompts=2"]),
        ({"sampling.prompts": [["-b"]], "model.no_rope": [True]}, ["s-prompts=1-no_rope=true"]),
        ({"sampling.settings": [[{"temperature": 0}], [{"temperature": 1}]]}, ["s-settings=1", "s-settings=2"]),
        ({"training.lr_max": [5e-5, "1e-4"]}, ["s-lr_max=5e-05", "s-lr_max=0.0001"]),
        ({"tokenizer.output_dtype": ["int32", None]}, ["s-output_dtype=int32", "s-output_dtype=null"]),
        ({key: [leaf["default"]] for key, leaf in flatten(SCHEMA) if key.startswith(("model.", "sampling."))}, ["s-1"]),
    ],
)
def test_any_values_give_valid_folder_names(sweep, expected):
    assert names(runs_of({"s": {"sweep": sweep}})) == expected


def test_which_run_computes_what():
    alike = computed_by(
        runs_of({
            "same": None, "texts": {"sampling.max_new_tokens": 8},
            "wide": {"model.d_ff": 64}, "wide2": {"model.d_ff": 64},
            "words": {"tokenizer.vocab_size": 300}, "wide_words": {"tokenizer.vocab_size": 300, "model.d_ff": 64},
            "share": {"ancients.share": 0.5}, "share_words": {"ancients.share": 0.5, "tokenizer.vocab_size": 300},
        })
    )  # fmt: skip
    short = {
        stage: {run[12:-1]: first[12:-1] for run, first in by_run.items() if run and run != first}
        for stage, by_run in alike.items()
    }
    model = {"same": "", "texts": "", "wide2": "wide"}
    assert short == {
        "corpus": {
            **dict.fromkeys(["same", "texts", "wide", "wide2", "words", "wide_words"], ""),
            "share_words": "share",
        },
        "words": {
            **dict.fromkeys(["same", "texts", "wide", "wide2", "words", "wide_words"], ""),
            "share_words": "share",
        },
        "tokenizer": {**dict.fromkeys(["same", "texts", "wide", "wide2"], ""), "wide_words": "words"},
        "tokens": {**dict.fromkeys(["same", "texts", "wide", "wide2"], ""), "wide_words": "words"},
        "bigram": {**dict.fromkeys(["same", "texts", "wide", "wide2"], ""), "wide_words": "words"},
        "model": model,
        "samples": {"same": "", "wide2": "wide"},
    }


def test_settings_that_re_run_nothing_do_not_separate_runs():
    made = runs_of({"a": {"model.d_ff": 64}})
    made["experiments/a/"]["model"] = made[""]["model"]
    computing = [key.removeprefix("training.") for key in rerun_nothing() if key.startswith("training.")]
    assert computing
    made["experiments/a/"]["training"] = made[""]["training"] | dict.fromkeys(computing, "other")
    assert computed_by(made)["samples"]["experiments/a/"] == ""


def test_differences_are_listed():
    made = runs_of({"same": {}, "b": {"model.d_ff": 64, "training.lr_max": "1e-3", "sampling.prompts": ["a"]}})
    assert differences(made[""], made["experiments/same/"]) == "the main configuration"
    assert differences(made[""], made["experiments/b/"]) == "model.d_ff=64 training.lr_max=0.001 sampling.prompts=['a']"


def test_every_key_varies_or_re_runs_nothing_or_belongs_to_the_source_texts():
    """A new key of model, training or sampling varies by itself; one of corpus, ancients or tokenizer is listed."""
    keys = [key for key, _ in flatten(SCHEMA) if key not in rerun_nothing()]
    fixed = {key.split(".")[0] for key in keys if not may_vary(key)}
    assert fixed <= {"run", "corpus", "ancients", "tokenizer", "experiments"}


@pytest.mark.parametrize(
    ("experiments", "problem"),
    [
        ({"a": {"model.d_modle": 1}}, "experiments.a: model.d_modle: unknown key. Did you mean model.d_model?"),
        ({"a": {"model.num_heads": 7}}, "experiments.a: model.num_heads: d_model 512 is not divisible"),
        ({"a": {"corpus.seed": 1}}, "experiments.a: corpus.seed cannot vary between experiments"),
        ({"a": {"training": {"device": "cpu"}}}, "experiments.a: training.device cannot vary"),
        ({"a": {"sweep": {"training.lr_max": 1e-3}}}, "experiments.a: give lists of values"),
        ({"a": {"sweep": [1]}}, "experiments.a: give lists of values"),
        ({"a": {"sweep": {"training.lr_max": [1e-3, -1]}}}, "experiments.a-lr_max=-1: training.lr_max: -1 is"),
        ({"a": {"model": 3}}, "experiments.a: model: 3 is not allowed. Give a section"),
        ({"a": {"tokenizer": {"vocab_size": 8, "model": {"d_ff": 3}}}}, "experiments.a: tokenizer.model: unknown key"),
        ({"a": {"model.d_ff.x": 1}}, "experiments.a: model.d_ff.x: unknown key"),
        ({"a": {"model": 3, "model.d_ff": 1}}, "experiments.a: model.d_ff: unknown key"),
        ({"a": {"sweep": {"training.seed": [*range(101)], "model.d_ff": [*range(10)]}}}, "1,010 combinations"),
        ({"a": {"sweep": {"sampling.prompts": [["b c"], ["b c"]]}}}, "a-prompts=1: there are two of this name"),
        ({"a b": {}}, "experiments: 'a b' is not allowed"),
        ({"a": 3}, "experiments.a: 3 is not allowed. Give a section"),
        ({"a-seed=1": {}, "a": {"sweep": {"training.seed": [1]}}}, "experiments: 'a-seed=1' is not allowed"),
        ({"a": {"sweep": {"training.seed": [1, "1"]}}}, "experiments.a-seed=1: there are two of this name"),
    ],
)  # fmt: skip
def test_a_problem_names_its_variant(experiments, problem):
    with pytest.raises(MinlmError) as caught:
        runs_of(experiments)
    assert problem in str(caught.value)


CHAIN = {
    "third": {"training.init_from": "second", "model.context_length": 512},
    "base": {"model.d_model": 64, "model.num_heads": 4, "tokenizer.vocab_size": 300},
    "second": {"training.init_from": "base", "ancients.share": 0.5},
}


def test_a_chain_has_one_architecture_and_one_tokenizer():
    made = runs_of(CHAIN)
    base, second, third = (made[f"experiments/{name}/"] for name in ("base", "second", "third"))
    assert base["model"] == second["model"] == {**third["model"], "context_length": base["model"]["context_length"]}
    assert base["tokenizer"] == second["tokenizer"] == third["tokenizer"]
    stages = computed_by(made)
    assert {stages["tokenizer"][f"experiments/{name}/"] for name in CHAIN} == {"experiments/base/"}
    assert stages["tokens"]["experiments/second/"] == "experiments/second/"  # its own text
    assert stages["tokens"]["experiments/third/"] == "experiments/base/"
    assert [stages["model"][f"experiments/{name}/"] for name in CHAIN] == [f"experiments/{name}/" for name in CHAIN]


def test_seeds_are_replicates_and_each_continues_its_own():
    made = runs_of({"a": {"seeds": [0, 1]}, "b": {"training.init_from": "a", "seeds": [0, 1]}, "again": {}})
    assert names(made) == ["a-seed=0", "a-seed=1", "b-seed=0", "b-seed=1", "again"]
    assert [made[run]["training"]["init_from"] for run in list(made)[3:5]] == ["a-seed=0", "a-seed=1"]
    del made[""]
    assert [run.removeprefix("experiments/") for run in replicates(made).values()] == [
        "a-seed=0/", "a-seed=0/", "b-seed=0/", "b-seed=0/", "again/",
    ]  # fmt: skip
    assert len(set(computed_by(made)["bigram"].values())) == 1


@pytest.mark.parametrize(
    ("experiments", "problem"),
    [
        ({"a": {"training.init_from": "b"}, "b": {"training.init_from": "a"}}, "a → b → a is a circle"),
        ({"a": {"training.init_from": "a"}}, "experiments.a: training.init_from: a → a is a circle"),
        ({"base": {}, "b": {"training.init_from": "bas"}}, "'bas' is neither another experiment nor a model.pt. "
         "Did you mean base?"),
        ({"base": {}, "b": {"training.init_from": "base", "model.d_ff": 64}}, "experiments.b: model.d_ff is 64, but "
         "base, from which it starts, has 1344"),
        ({"base": {}, "b": {"training.init_from": "base", "tokenizer.vocab_size": 300}}, "tokenizer.vocab_size is 300"),
        ({"a": {"seeds": 3}}, "experiments.a: give lists of values"),
    ],
)  # fmt: skip
def test_problems_of_runs_that_start_from_others(experiments, problem):
    with pytest.raises(MinlmError) as error:
        runs_of(experiments)
    assert problem in str(error.value)


def test_the_main_run_starts_from_files_only():
    with pytest.raises(MinlmError, match=r"'base' is not a model\.pt"):
        runs_of({"base": {}}, training={"init_from": "base"})
    made = runs_of({"a": {}}, training={"init_from": "x/model.pt"})
    assert made["experiments/a/"]["training"]["init_from"] == "x/model.pt"
