"""The pages of a run's report: corpus, tokenizer, evaluation, samples and environment."""

import csv
import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from minlm.generation.samples_file import read_samples
from minlm.generation.stream_text import spell_token
from minlm.reading import reading
from minlm.reports.pages import write_page
from minlm.reports.summary import rank_compressors
from minlm.tokenization import BPETokenizer
from minlm.training.evaluation import read_evaluation

PACKAGES = ("minlm", "torch", "numpy", "numba", "regex", "snakemake")


def write_tokenizer_page(path: str | Path, tokenizer: BPETokenizer, texts: Sequence[str]) -> None:
    """Write a page that shows each text as colored tokens, with the id of the token under the pointer."""
    shown = []
    for text in texts:
        tokens = [(token_id, spell_token(tokenizer.vocab[token_id])) for token_id in tokenizer.encode(text)]
        shown.append((tokens, len(text.encode())))
    longest = sorted(tokenizer.vocab.values(), key=len, reverse=True)[:20]
    write_page(
        path,
        "tokenizer.html",
        title="How the tokenizer cuts text",
        vocab_size=len(tokenizer.vocab),
        num_merges=len(tokenizer.merges),
        texts=shown,
        longest=[spell_token(token) for token in longest],
    )


def write_corpus_page(path: str | Path, corpus_csv: str | Path) -> None:
    """Write the table of `report_corpora` as a page.

    Raises:
        MinlmError: the table is missing or damaged.
    """
    with (
        reading(corpus_csv, "a table of the corpus", "Make it again with `python -m minlm.scripts.corpus_report`."),
        open(corpus_csv, encoding="utf-8", newline="") as handle,
    ):
        header, *rows = csv.reader(handle)
        if any(len(row) != len(header) for row in rows):
            raise ValueError("its rows have different lengths")
    cells = [[f"{int(cell):,}" if re.fullmatch("[0-9]{1,18}", cell) else cell or "–" for cell in row] for row in rows]
    titles = [name.replace("_", " ") for name in header]
    write_page(path, "table.html", title="Corpus", header=titles, rows=cells, text_columns=("corpus", "split"))


def write_evaluation_page(path: str | Path, evaluation_json: str | Path) -> None:
    """Write a page that ranks the model and the compressors by bits per byte of the validation text.

    Raises:
        MinlmError: the evaluation is missing or damaged.
    """
    evaluation = read_evaluation(evaluation_json)
    steps = f" after {evaluation['iteration']:,} steps" if evaluation["iteration"] is not None else ""
    write_page(
        path,
        "table.html",
        title="Evaluation",
        header=("compressor", "bits / byte"),
        rows=[(name, f"{value:.4f}") for name, value in rank_compressors(evaluation_json).items()],
        text_columns=("compressor",),
        best=0,
        note=f"{evaluation['parameters']:,} parameters{steps}, on {evaluation['bytes']:,} unseen bytes "
        f"({evaluation['tokens']:,} tokens): {evaluation['nats_per_token']:.4f} nats/token, "
        f"perplexity {evaluation['perplexity']:.1f}.",
    )


def write_samples_page(path: str | Path, samples_txt: str | Path) -> None:
    """Write a page with the samples of each prompt side by side.

    Raises:
        MinlmError: the samples are missing or damaged.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for sample in read_samples(samples_txt):
        groups.setdefault(sample.title, []).append((f"{sample.setting}, seed {sample.seed}", sample.text))
    write_page(path, "samples.html", title="Samples", groups=groups)


def write_environment_page(path: str | Path) -> None:
    """Write a page that names the machine and the versions in use."""
    rows = [
        ("system", platform.platform()),
        ("processor", f"{_processor()}, {os.cpu_count()} logical cores"),
        ("Python", platform.python_version()),
        *((name, _version(name)) for name in PACKAGES),
    ]
    header = ("component", "version")
    write_page(path, "table.html", title="Environment", header=header, rows=rows, text_columns=header)


def _processor() -> str:
    try:
        model_name = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:  # not Linux
        model_name = None
    return model_name[1] if model_name else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
