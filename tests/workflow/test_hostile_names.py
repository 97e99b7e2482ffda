"""Names, prompts and files that a shell, argparse or Snakemake could interpret."""

import csv
import os

import pytest
import yaml

from minlm.generation.samples_file import read_samples

PROMPTS = [
    "-5 degrees", "--checkpoint=x", "--seed", "-Yes", "-", "--", "it's $(touch X) `touch X`; touch X",
    '"${HOME}" & {input} {}',
    "two\nlines\\n", "#!*?~ ", "Ἐν ἀρχῇ 🙂", "",
]  # fmt: skip
NAMES = [
    "-Yes.txt", "--checkpoint=x.txt", "{brace}.txt", "{a.b} {{c}}.txt", "it's $(touch X).txt", 'a"b;touch X.txt',
    "`touch X`.txt", "two\nlines.txt", " space .txt", "Ἐν 🙂.txt", "#&|<>*?[a]~!.txt", "back\\slash.txt",
]  # fmt: skip


@pytest.fixture(scope="module")
def hostile(new_checkout):
    """A checkout in a folder with an odd name, with texts, prompts and variants of odd names."""
    checkout = new_checkout()
    folder = checkout.folder / "it's $(touch X); folder"
    folder.mkdir()
    for path in list(checkout.folder.iterdir()):
        if path != folder:
            path.rename(folder / path.name)
    checkout.folder = folder
    for number, name in enumerate(NAMES):
        (folder / name).write_text(f"file {number} has this one sentence.\n")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["corpus"]["files"]["train"] = ["texts/train.txt", "*.txt"]
    config["corpus"]["files"]["text_field"] = "--{field} $(touch X)"
    config["sampling"]["prompts"] = PROMPTS
    config["training"]["total_tokens"] = 640
    config["experiments"] = {"a": {"sweep": {"sampling.prompts": [["it's $(touch X) {b}"]]}}, "plain": None}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    checkout.run("results/samples.txt", "results/comparison.html")
    return checkout


def test_nothing_is_run_that_is_text(hostile):
    assert not [path for path in hostile.folder.rglob("*") if path.name in ("X", "X.txt", "x", "x.txt")]


def test_texts_arrive_as_they_are(hostile):
    samples = hostile.folder / "results/samples.txt"
    assert [sample.prompt for sample in read_samples(samples)] == PROMPTS
    path = hostile.folder / "results/experiments/a-prompts=1/samples.txt"
    assert [sample.prompt for sample in read_samples(path)] == ["it's $(touch X) {b}"]
    corpus = (hostile.folder / "data/corpus/train.txt").read_text()
    assert [f"file {number} " in corpus for number in range(len(NAMES))] == [True] * len(NAMES)


def test_variants_have_plain_names(hostile):
    table = list(csv.DictReader((hostile.folder / "results/comparison.csv").read_text().splitlines()))
    assert [row["run"] for row in table] == ["a-prompts=1", "plain"]
    assert table[0]["settings"] == """sampling.prompts=["it's $(touch X) {b}"]"""


def test_links_are_relative_and_lead_to_the_main_run(hostile):
    link = hostile.folder / "results/experiments/plain/samples.txt"
    assert not os.path.isabs(os.readlink(link))
    assert link.resolve() == (hostile.folder / "results" / "samples.txt").resolve()


def test_a_changed_file_of_any_name_is_collected_again(hostile):
    assert hostile.stale(target="results/samples.txt") == {}
    for name in ("-Yes.txt", "{brace}.txt"):
        path = hostile.folder / name
        before = path.stat()
        os.utime(path)
        assert "collect_files" in hostile.stale(target="results/samples.txt"), name
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
