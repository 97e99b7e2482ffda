"""What re-runs: exactly the steps whose result depends on what changed (the table in docs/architecture.md)."""

import os
import re
import time
from contextlib import contextmanager

import pytest

RETRAINED = {"train", "plot", "evaluate", "sample", "report_pages"}
TRAINED = {"fit_bigram"} | RETRAINED
TOKENIZED = {"train_tokenizer", "corpus_report", "tokenize"} | TRAINED
MIXED = {"mix", "count_words"} | TOKENIZED


@contextmanager
def touched(path):
    """Give the file a new modification time; restore the old one afterwards."""
    before = path.stat()
    os.utime(path, (time.time(), time.time()))
    try:
        yield
    finally:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_second_run_has_nothing_to_do(finished):
    assert finished.stale() == {}
    assert "Nothing to be done" in finished.run("all")


def test_each_prompt_reaches_the_samples_as_it_was_written(finished):
    samples = (finished.folder / "results/samples.txt").read_text()
    assert re.findall(r'^prompt: "(.*)"$', samples, re.M) == ["The cat", 'it\'s "$HOME"', ""]


@pytest.mark.parametrize(
    ("change", "expected"),
    {
        "sampling={settings: [{temperature: 0}]}": {"sample", "report_pages"},
        "sampling={seed: 3}": {"sample", "report_pages"},
        "training={lr_max: 2e-3}": RETRAINED,
        "training={eval_interval: 50}": RETRAINED,
        "model={no_rope: true}": RETRAINED,
        "training={bigram_init: false}": RETRAINED,
        "model={d_model: 64}": TRAINED,
        "tokenizer={vocab_size: 290}": TOKENIZED,
        "tokenizer={output_dtype: int32}": TOKENIZED - {"train_tokenizer", "corpus_report"},
        "corpus={target_total_words: 1000}": MIXED,
        "corpus={files: {documents: blank_line}}": {"collect_files"} | MIXED,
    }.items(),
)
def test_a_changed_value_re_runs_what_depends_on_it(finished, change, expected):
    assert set(finished.stale("--config", change)) == expected


def test_settings_that_change_no_result_re_run_nothing(finished):
    """Includes settings of sources that this run does not use."""
    assert finished.stale(
        "--cores=1", "--printshellcmds", "--keep-going", "--config",
        "training={device: cpu, devices: 2, compile: 'off', grad_accum_steps: 2, gradient_checkpointing: true, "
        "save_interval: 77, log_to_wandb: true, log_to: [tensorboard]}", "ancients={request_delay: 7, max_books: 7}",
        "corpus={sample: {valid_every: 7}}",
    ) == {}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "expected"),
    {
        "texts/train.txt": {"collect_files"} | MIXED,
        "data/files/train.txt": MIXED,
        "data/corpus/train.txt": MIXED - {"mix"},
        "data/corpus/valid.txt": {"corpus_report", "tokenize"} | RETRAINED,
        "data/tokenizer/word_counts.npz": TOKENIZED,
        "data/tokenizer/vocab.json": TOKENIZED - {"train_tokenizer"},
        "data/tokens/train.npy": TRAINED,
        "results/bigram.pt": RETRAINED,
        "results/model.pt": {"evaluate", "sample", "report_pages"},
        "results/metrics.csv": {"plot", "report_pages"},
        "results/samples.txt": {"report_pages"},
    }.items(),
)
def test_a_touched_file_re_runs_the_steps_after_it(finished, path, expected):
    """Touching a file counts even if it is small and unchanged."""
    with touched(finished.folder / path):
        assert set(finished.stale()) == expected


def test_only_what_is_asked_for(finished):
    """After `touch data/tokens/train.npy`, a call for the samples fits, trains and samples, but draws no plots."""
    with touched(finished.folder / "data/tokens/train.npy"):
        assert finished.stale(target="results/samples.txt") == {"fit_bigram": 1, "train": 1, "sample": 1}


def test_one_more_text_file_collects_again(finished):
    new = finished.folder / "texts/train2.txt"
    new.write_text("One more document.\n")
    try:
        assert set(finished.stale()) == {"collect_files"} | MIXED
    finally:
        new.unlink()  # other tests use this checkout


def test_a_deleted_intermediate_file_is_not_missed_and_a_deleted_result_is_made_again(finished):
    counts, samples = finished.folder / "data/tokenizer/word_counts.npz", finished.folder / "results/samples.txt"
    counts.rename(counts.with_suffix(".away"))
    samples.rename(samples.with_suffix(".away"))
    try:
        assert set(finished.stale()) == {"sample", "report_pages"}
    finally:
        counts.with_suffix(".away").rename(counts)
        samples.with_suffix(".away").rename(samples)
