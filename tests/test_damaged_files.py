"""Whatever happens to a file that we read, the end is success or one clear line, and never much memory."""

import gzip
import json
import random
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
import zstandard
from mutations import BYTES, SEALED, TEXT

from minlm.corpus.download import _read_record
from minlm.corpus.gutenberg import books, catalog, selection
from minlm.corpus.local_files import _read_files
from minlm.corpus.mix import mix_corpora
from minlm.corpus.web import Pace
from minlm.errors import MinlmError
from minlm.fast.tokenization.word_counts import WordCounts
from minlm.generation.samples_file import Sample, Setting, write_samples
from minlm.pipeline.rules import kept_books
from minlm.reports import run_pages as report
from minlm.reports.comparison import read_run
from minlm.reports.corpus import _read_record as read_mixture
from minlm.tokenization import BPETokenizer
from minlm.training.evaluation import write_evaluation
from minlm.training.metrics import write_metrics
from minlm.training.settings import TrainingSettings
from minlm.training.state import RunState
from minlm.training.tokens import open_tokens
from minlm.training.trainer import Trainer
from minlm.transformer import TransformerLM
from minlm.transformer.checkpoint import load_model, save_model

URL = "https://example.org/file"
MODEL = {"vocab_size": 11, "context_length": 4, "d_model": 4, "num_layers": 1, "num_heads": 2, "d_ff": 4}
SETTINGS = TrainingSettings(
    batch_size=2, total_tokens=80, lr_max=1e-3, lr_min=1e-4, warmup_iters=1, weight_decay=0.1, max_grad_norm=1.0,
    dtype="float32", compile="off",
)  # fmt: skip
TOKENS = np.arange(60, dtype=np.uint16) % 11
MORE_MEMORY = 200  # MB that reading all damaged forms of a file may take


def make_trainer(state):
    return Trainer(MODEL, SETTINGS, TOKENS, TOKENS, state, torch.device("cpu"))


def make_state(folder: Path) -> None:
    with RunState(folder / "state", "this run") as state:
        trainer = make_trainer(state)
        trainer.started = trainer.row_started = 0.0
        trainer.rows = [ROW | {"iter": 2}]
        for _ in range(3):
            trainer.train_step()
        trainer.save()


ROW = {
    "timestamp": "2026-01-01T00:00:00Z", "iter": 10, "lr": 0.001, "train_loss": 2.5, "val_loss": 2.75, "elapsed_s": 1.5,
    "tokens_seen": 80, "tokens_per_s": 53, "grad_norm": 1.25, "val_bits_per_byte": 1.5,
}  # fmt: skip
EVALUATION = {
    "nats_per_token": 2.5, "perplexity": 12.2, "bits_per_byte": 1.75, "tokens": 1000, "bytes": 4000,
    "baseline": {"lzma_bits_per_byte": 2.25, "bz2_bits_per_byte": 1.5}, "parameters": 29536, "iteration": 100,
}  # fmt: skip
BOOKS = [
    {
        "id": number, "title": f"The “Works” of {number}", "authors": [{"name": "Homer", "birth_year": -750,
        "death_year": -650}], "translators": [], "languages": ["en"], "copyright": False, "media_type": "Text",
        "download_count": 5, "subjects": ["a, b"], "bookshelves": [],
        "formats": {"text/plain; charset=utf-8": f"https://example.org/{number}.txt", "text/plain": "https://x.org/a.txt"},
    }
    for number in (3, 14, 159)
]  # fmt: skip


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    """A folder with a sound file of each format."""
    folder = tmp_path_factory.mktemp("sound")
    torch.manual_seed(0)
    save_model(folder / "model.pt", TransformerLM(**MODEL), iteration=7, tokenizer="abc", training={"lr_max": 1e-3})
    make_state(folder)
    with open(folder / "counts.npz", "wb") as file:
        WordCounts.of({b"the": 3, b" a": 2, "é".encode(): 1}, ["<|endoftext|>"]).write(file)
    np.save(folder / "tokens.npy", TOKENS)
    vocab = {byte: bytes([byte]) for byte in range(256)} | {256: b"<|endoftext|>", 257: b"th", 258: b"the"}
    BPETokenizer(vocab, [(b"t", b"h"), (b"th", b"e")]).save(folder / "vocab.json", folder / "merges.txt")
    write_metrics(folder / "metrics.csv", [ROW, ROW | {"iter": 20, "val_bits_per_byte": None}])
    write_evaluation(folder / "evaluation.json", EVALUATION)
    samples = [Sample("In the", Setting(t, 0.9, k), 7, f"In the {t}", 3, False) for t, k in ((0.7, None), (1.0, 40))]
    write_samples(folder / "samples.txt", samples, "Samples")
    (folder / "corpus.csv").write_text("corpus,split,words,share\nbible,train,12345,0.6\nbible,valid,678,\n")
    lines = "".join(json.dumps(book, ensure_ascii=False) + "\n" for book in BOOKS)
    (folder / "catalog.jsonl").write_text(lines, encoding="utf-8")
    selection.write_selection(
        folder / "catalog.jsonl", folder / "selection.csv", 500, None, [], [], "books", "http://none.invalid", 0
    )
    texts = "".join(json.dumps({"text": f"Größe {number}"}) + "\n" for number in range(9)).encode()
    (folder / "texts.jsonl").write_bytes(texts)
    (folder / "texts.jsonl.gz").write_bytes(gzip.compress(texts))
    (folder / "texts.jsonl.zst").write_bytes(zstandard.compress(texts))
    table = pd.DataFrame({"id": range(9), "text": [f"Größe, {number}" for number in range(9)]})
    table.to_csv(folder / "texts.csv", index=False)
    table.to_json(folder / "texts.json", orient="records", force_ascii=False)
    table.to_parquet(folder / "texts.parquet", row_group_size=4)
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    for name, new in (("stream", pa.ipc.new_stream), ("file", pa.ipc.new_file)):
        with new(str(folder / f"{name}.arrow"), arrow.schema) as writer:
            writer.write_table(arrow, max_chunksize=4)
    (folder / "a.txt").write_text("one two three\n<|endoftext|>\nfour five\n<|endoftext|>\n" * 20)
    pair = (folder / "a.txt", folder / "a.txt")
    mix_corpora(pair, pair, (folder / "t.txt", folder / "v.txt"), 0.5, 40, record=folder / "mixture.json")
    entity = {"url": URL, "validator": '"abc"', "size": 12345, "sha256": "0" * 64}
    (folder / ".file.part.json").write_text(json.dumps(entity))
    (folder / ".last_request").write_text("1700000000.25")
    return folder


def read_state(path: Path, originals: Path) -> bool:
    """Whether the run starts over. Only a state that its checksums call sound can be refused after loading."""
    with RunState(path.parent, "this run") as state:
        saved = state.load()
        if saved is not None:
            make_trainer(state).restore(saved)
        return saved is None


def read_folder(path: Path, originals: Path) -> None:
    for name in {"metrics.csv", "evaluation.json", "samples.txt"} - {path.name}:
        (path.parent / name).write_bytes((originals / name).read_bytes())
    read_run(path.parent)


def read_tokenizer(path: Path, originals: Path) -> None:
    files = [path if path.name == name else originals / name for name in ("vocab.json", "merges.txt")]
    BPETokenizer.from_files(*files, ["<|endoftext|>"], backend="python").encode("the thé")


def read_evaluation_file(path: Path, originals: Path) -> None:
    report.write_evaluation_page(path.with_suffix(".html"), path)


def read_selection(path: Path, originals: Path) -> None:
    kept_books(path)
    books._addresses(path, 3)


def read_texts(path: Path, originals: Path) -> None:
    problems: list[str] = []
    list(_read_files([path], "separator", "text", problems))
    if problems:
        raise MinlmError("\n".join(problems))


class Format(NamedTuple):
    """How a file is damaged and read."""

    file: str
    mutations: list
    read: Callable[[Path, Path], object]
    never_refused: bool = False


FORMATS = {
    "model.pt": Format("model.pt", BYTES, lambda path, _: load_model(path)),
    "model.pt, sealed": Format("model.pt", SEALED, lambda path, _: load_model(path)),
    "state": Format("state/checkpoint.pt", BYTES, read_state, never_refused=True),
    "state, sealed": Format("state/checkpoint.pt", SEALED, read_state),
    "counts.npz": Format("counts.npz", BYTES, lambda path, _: WordCounts.load(path)),
    "counts.npz, sealed": Format("counts.npz", SEALED, lambda path, _: WordCounts.load(path)),
    "tokens.npy": Format("tokens.npy", BYTES, lambda path, _: open_tokens(path, 11, 4)),
    "vocab.json": Format("vocab.json", TEXT, read_tokenizer),
    "merges.txt": Format("merges.txt", TEXT, read_tokenizer),
    "metrics.csv": Format("metrics.csv", TEXT, read_folder),
    "samples.txt": Format("samples.txt", TEXT, read_folder),
    "evaluation.json": Format("evaluation.json", TEXT, read_evaluation_file),
    "corpus.csv": Format("corpus.csv", TEXT, lambda path, _: report.write_corpus_page(path.with_suffix(".html"), path)),
    "catalog.jsonl": Format("catalog.jsonl", TEXT, lambda path, _: catalog.read_catalog(path)),
    "selection.csv": Format("selection.csv", TEXT, read_selection),
    "texts.jsonl": Format("texts.jsonl", TEXT, read_texts),
    "texts.jsonl.gz": Format("texts.jsonl.gz", BYTES, read_texts),
    "texts.jsonl.zst": Format("texts.jsonl.zst", BYTES, read_texts),
    "texts.csv": Format("texts.csv", TEXT, read_texts),
    "texts.json": Format("texts.json", TEXT, read_texts),
    "texts.parquet": Format("texts.parquet", BYTES, read_texts),
    "stream.arrow": Format("stream.arrow", BYTES, read_texts),
    "file.arrow": Format("file.arrow", BYTES, read_texts),
    "mixture.json": Format("mixture.json", TEXT, lambda path, _: read_mixture(path)),
    ".part.json": Format(".file.part.json", TEXT, lambda path, _: _read_record(path, URL), never_refused=True),
    ".last_request": Format(".last_request", TEXT, lambda path, _: Pace(0, path).wait(), never_refused=True),
}


def damage_and_read(name: str, count: int, originals: Path, folder: Path) -> int:
    """Read `count` damaged forms of a file; how many were refused."""
    form = FORMATS[name]
    content = (originals / form.file).read_bytes()
    path = folder / form.file
    refused, memory = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        rng = random.Random(f"{name} {number}")
        path.parent.mkdir(exist_ok=True)  # a state that is set aside takes its folder with it
        path.write_bytes(form.mutations[number % len(form.mutations)](content, rng))
        if form.file.startswith("state"):
            path.with_name("lock").touch()  # what tells the folder of a run from others
        try:
            refused += form.read(path, originals) is True
        except MinlmError as error:
            message = str(error)
            assert not form.never_refused, (number, message)
            assert "\n" not in message, (number, message)
            assert str(path) in message, (number, message)
            assert len(message) < len(str(path)) + len(str(originals)) + 500, (number, message)
            refused += 1
        except Exception as error:
            raise AssertionError(f"{name}, mutation {number}: {error!r}") from error
    in_mb = 2**20 if sys.platform == "darwin" else 2**10
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / in_mb < MORE_MEMORY
    return refused


@pytest.mark.parametrize("name", FORMATS)
def test_a_sound_file_is_read(name, originals, tmp_path):
    form = FORMATS[name]
    path = tmp_path / form.file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((originals / form.file).read_bytes())
    path.with_name("lock").touch()
    form.read(path, originals)


@pytest.mark.parametrize("name", FORMATS)
def test_damage_ends_in_success_or_one_line(name, originals, tmp_path):
    assert damage_and_read(name, 40, originals, tmp_path) > 5 or FORMATS[name].never_refused


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_much_damage_ends_in_success_or_one_line(name, originals, tmp_path):
    print(f"\n{name}: {damage_and_read(name, 1000, originals, tmp_path):,} of 1,000 refused")
