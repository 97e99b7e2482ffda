"""Experiments through the workflow: shared stages are computed once, and the main run's results stay as they are."""

import csv
import json
import re

import pytest
import yaml
from checkout import snakemake

from minlm.cores import available_cores

COMPARISON = "results/comparison.html"


def experiments(**variants):
    return "experiments=" + yaml.safe_dump(variants, default_flow_style=True, width=10_000).strip()


def jobs(checkout, target=COMPARISON, **variants):
    return checkout.stale("--config", experiments(**variants), target=target)


@pytest.fixture(scope="module")
def fresh(new_checkout):
    """A checkout without results, for dry runs."""
    return new_checkout()


def test_six_variants_share_everything_up_to_training(fresh):
    lr = {"sweep": {"training.lr_max": [5e-4, 1e-3, 2e-3], "model.d_ff": [64, 48]}}
    assert jobs(fresh, lr=lr) == {
        "collect_files": 1, "mix": 1, "count_words": 1, "train_tokenizer": 1, "tokenize": 2,
        "fit_bigram": 1, "train": 6, "evaluate": 6, "sample": 6, "link": 3, "compare": 1,
    }  # fmt: skip


def test_vocabularies_share_the_counts_and_texts_the_model(fresh):
    assert jobs(fresh, v={"sweep": {"tokenizer.vocab_size": [280, 290, 300]}}, seed={"sampling.seed": 8}) == {
        "collect_files": 1, "mix": 1, "count_words": 1, "train_tokenizer": 3, "tokenize": 6,
        "fit_bigram": 3, "train": 3, "evaluate": 3, "sample": 4, "link": 5, "compare": 1,
    }  # fmt: skip


def test_another_mix_shares_the_source(fresh):
    made = jobs(fresh, half={"corpus.target_total_words": 500})
    assert made["collect_files"] == 1
    assert made["mix"] == made["count_words"] == made["train"] == 1


def test_the_main_run_ignores_experiments(fresh):
    plain = fresh.stale(target="results/samples.txt")
    assert jobs(fresh, target="results/samples.txt", wide={"model.d_ff": 64}) == plain
    assert plain["train"] == 1


def test_a_problem_of_a_variant_is_reported_before_anything_runs(fresh):
    output = fresh.run("-n", COMPARISON, "--config", experiments(wide={"model.d_modle": 3}), status=1)
    assert "experiments.wide: model.d_modle: unknown key. Did you mean model.d_model?" in output
    assert "Traceback" not in output


def test_without_experiments_there_is_nothing_to_compare(fresh):
    assert "Name `experiments:` in the configuration" in fresh.run(COMPARISON, status=1)


def test_a_comparison_for_real(finished_with_variants):
    results = finished_with_variants.folder / "results"
    rows = list(csv.DictReader((results / "comparison.csv").read_text().splitlines()))
    assert [row["run"] for row in rows] == ["base", "lr-lr_max=0.0001", "lr-lr_max=0.002"]
    assert [row["settings"] for row in rows] == [
        "the main configuration",
        "training.lr_max=0.0001",
        "training.lr_max=0.002",
    ]
    assert float(rows[2]["bits_per_byte"]) < float(rows[0]["bits_per_byte"]) < float(rows[1]["bits_per_byte"])
    assert (results / "comparison.png").read_bytes().startswith(b"\x89PNG")
    page = (results / "comparison.html").read_text()
    assert page.index('<td class="text">lr-lr_max=0.002') < page.index('<td class="text">base')  # best first
    assert '<td class="text">base<small>the main configuration</small></td>' in page
    assert page.count("data:image/png") == 2  # one for wide windows, one for phones
    assert page.count('<div class="card">') == 3 * 3
    assert "http" not in page
    assert (results / "experiments/base/evaluation.json").resolve() == results / "evaluation.json"
    assert not (results / "experiments/lr-lr_max=0.002/samples.txt").is_symlink()


def threads(checkout, *arguments, target=COMPARISON):
    """The number of threads of each training that would run."""
    arguments = ("-n", "-p", "--cores", "2", target, *arguments)
    return re.findall(r"scripts\.train .*--threads (\d+)", snakemake(*arguments, folder=checkout.folder)[1])


def test_trainings_on_a_cpu_share_the_cores(fresh):
    cores = str(min(2, available_cores()))
    two = ["--config", experiments(lr={"sweep": {"training.lr_max": [5e-4, 2e-3]}})]
    cpu, gpu, ranks = ("training={device: cpu}", "training={device: cuda}", "training={device: cpu, devices: 2}")
    assert threads(fresh, "--config", cpu, target="results/model.pt") == [cores]
    assert threads(fresh, *two, cpu) == ["1", "1"]
    assert threads(fresh, *two, cpu, target="results/model.pt") == [cores]  # only one of them is requested
    assert threads(fresh, *two, gpu) == threads(fresh, *two, ranks) == [cores, cores]


def test_more_cores_than_there_are(fresh):
    output = snakemake("-n", "-p", "--cores", "512", "results/model.pt", folder=fresh.folder)[1]
    assert f"--cores 512: this process may use {available_cores()}" in output
    assert re.findall(r"scripts\.train .*--threads (\d+)", output) == [str(min(16, available_cores()))]


def test_threads_re_run_nothing(finished_with_variants):
    for cores in ("1", "2", "64"):
        assert finished_with_variants.stale("--cores", cores, "--max-threads", cores, target=COMPARISON) == {}


def test_more_variants_later_compute_only_themselves(finished_with_variants):
    assert jobs(finished_with_variants) == {}
    assert jobs(finished_with_variants, base=None, lr={"sweep": {"training.lr_max": [1e-4, 4e-3]}}) == {
        "train": 1, "evaluate": 1, "sample": 1, "compare": 1,
    }  # fmt: skip


def test_a_variant_that_now_differs_from_the_main_run_is_computed(finished_with_variants):
    """Its links become files of its own; the main run's files stay as they are."""
    change = ["--config", experiments(base={"training.seed": 5})]
    assert finished_with_variants.stale(*change, target="results/experiments/base/samples.txt") == {
        "train": 1,
        "sample": 1,
    }
    before = (finished_with_variants.folder / "results/samples.txt").read_bytes()
    finished_with_variants.run("results/experiments/base/samples.txt", *change)
    samples = finished_with_variants.folder / "results/experiments/base/samples.txt"
    assert not samples.is_symlink()
    assert (finished_with_variants.folder / "results/samples.txt").read_bytes() == before
    assert jobs(finished_with_variants)["link"] == 2  # with the old configuration again, samples and metrics are links


@pytest.fixture(scope="module")
def finished_with_variants(finished, new_checkout):
    """A checkout in which the main run was made before the variants."""
    made = new_checkout(like=finished.folder)
    with open(made.folder / "config.yaml", "a") as file:
        file.write("experiments: {base: null, lr: {sweep: {training.lr_max: [1.0e-4, 2.0e-3]}}}\n")
    made.run(COMPARISON)
    return made


CHAIN = {
    "base": None,
    "tuned": {"training.init_from": "base", "corpus.target_total_words": 500, "training.lr_max": 5e-4},
    "third": {"training.init_from": "tuned", "training.lr_max": 2e-4},
}


def test_a_chain_of_experiments(new_checkout):
    """Each starts from the model of the one before; a change re-runs the models after it, and no others."""
    made = new_checkout()
    with open(made.folder / "config.yaml", "a") as file:
        yaml.safe_dump({"experiments": CHAIN}, file)
    made.run(COMPARISON)
    results = made.folder / "results"
    assert "starting from results/model.pt" in (made.folder / "logs/experiments/tuned/train.log").read_text()
    tuned = "results/experiments/tuned/model.pt"
    assert f"starting from {tuned}" in (made.folder / "logs/experiments/third/train.log").read_text()
    assert not (made.folder / "data/experiments/tuned/tokenizer").exists()
    assert (results / "experiments/base/on/tuned.json").exists()
    assert "Gained and forgotten" in (results / "comparison.html").read_text()

    assert made.stale(target=COMPARISON) == {}
    changed = experiments(**CHAIN | {"tuned": CHAIN["tuned"] | {"training.lr_max": 6e-4}})
    again = made.stale("--config", changed, target=COMPARISON)
    assert again["train"] == 2  # tuned and third
    (results / "model.pt").touch()
    assert made.stale(target="results/experiments/third/model.pt")["train"] == 2


def test_another_kept_model_is_used_without_training(finished):
    kept, used = "keep_checkpoints: [50], keep_best: true", "results/checkpoints/step-50.pt"
    finished.run(used, "--config", f"training={{{kept}}}")
    finished.run("results/samples.txt", "results/evaluation.json", "--config", f"training={{{kept}}}")
    chosen = ("--config", f"training={{{kept}, use_checkpoint: 50}}")
    assert finished.stale(*chosen, target="results/samples.txt") == {"sample": 1}
    finished.run("results/evaluation.json", *chosen)
    assert json.loads((finished.folder / "results/evaluation.json").read_text())["iteration"] == 50
    message = finished.run("-n", "results/samples.txt", "--config", "training={use_checkpoint: best}", status=1)
    assert "training.use_checkpoint: `best` is not kept. Set training.keep_best." in message
