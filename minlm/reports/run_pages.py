"""Pages of the report: what its reader would otherwise have to download, and what no other step makes."""

import csv
import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from minlm.atomic import atomic_write
from minlm.generation.samples_file import read_samples
from minlm.reading import reading
from minlm.reports import html as pages
from minlm.tokenization import BPETokenizer
from minlm.training.evaluation import read_evaluation

PACKAGES = ("minlm", "torch", "numpy", "numba", "regex", "snakemake")
COLORS = 6
TOKEN_STYLE = """
.tokens { font-family: ui-monospace, monospace; line-height: 2.1; overflow-wrap: anywhere; }
.tokens span { padding: .2rem 0; border-radius: 3px; white-space: pre-wrap; }
""" + "\n".join(f".t{i} {{ background: hsl({i * 360 // COLORS} 70% 60% / .35); }}" for i in range(COLORS))


def write_tokenizer_page(path: str | Path, tokenizer: BPETokenizer, texts: Sequence[str]) -> None:
    """Each text cut into its tokens, in color; the id of a token shows on hover."""
    parts = [
        f"<p>{len(tokenizer.vocab):,} tokens: 256 bytes, the special tokens, and {len(tokenizer.merges):,} merges. "
        "Each color is one token; the pointer on it shows its id.</p>"
    ]
    for text in texts:
        ids = tokenizer.encode(text)
        spans = [
            f'<span class="t{i % COLORS}" title="{token}">{_shown(tokenizer.vocab[token])}</span>'
            for i, token in enumerate(ids)
        ]
        size = len(text.encode())
        parts.append(f'<p class="tokens">{"".join(spans)}</p>')
        parts.append(f'<p class="note">{size} bytes, {len(ids)} tokens: {size / len(ids):.2f} bytes/token</p>')
    longest = sorted(tokenizer.vocab.values(), key=len, reverse=True)[:20]
    parts.append("<h2>The longest tokens</h2>")
    parts.append(f'<p class="tokens">{" ".join(f"<span class=t0>{_shown(token)}</span>" for token in longest)}</p>')
    _write(path, pages.page("How the tokenizer cuts text", *parts, style=TOKEN_STYLE))


def _shown(token: bytes) -> str:
    return pages.text(pages.spell_token(token))


def write_corpus_page(path: str | Path, table: str | Path) -> None:
    """The table of `corpus_report`."""
    with (
        reading(table, "a table of the corpus", "Make it again with `python -m minlm.scripts.corpus_report`."),
        open(table, encoding="utf-8", newline="") as handle,
    ):
        header, *rows = csv.reader(handle)
        if any(len(row) != len(header) for row in rows):
            raise ValueError("its rows have different lengths")
    shown = [[f"{int(cell):,}" if re.fullmatch("[0-9]{1,18}", cell) else cell or "–" for cell in row] for row in rows]
    titles = [name.replace("_", " ") for name in header]
    _write(path, pages.page("Corpus", pages.table(titles, shown, words=("corpus", "split"))))


def write_evaluation_page(path: str | Path, evaluation: str | Path) -> None:
    """The model and the compressors on the validation text, the best first."""
    found = read_evaluation(evaluation)
    candidates = {"this model": found["bits_per_byte"]}
    candidates |= {name.removesuffix("_bits_per_byte"): value for name, value in found["baseline"].items()}
    ranked = sorted(candidates.items(), key=lambda item: item[1])
    rows = [(name, f"{value:.4f}") for name, value in ranked]
    steps = f" after {found['iteration']:,} steps" if found["iteration"] is not None else ""
    note = (
        f"{found['parameters']:,} parameters{steps}, on {found['bytes']:,} bytes "
        f"({found['tokens']:,} tokens) that it has not seen: {found['nats_per_token']:.4f} nats/token, "
        f"perplexity {found['perplexity']:.1f}."
    )
    table = pages.table(("compressor", "bits / byte"), rows, words=("compressor",), best=0)
    _write(path, pages.page("Evaluation", table, f'<p class="note">{note}</p>'))


def write_samples_page(path: str | Path, samples: str | Path) -> None:
    """Under each prompt the texts that continue it, beside each other."""
    cards: dict[str, list[str]] = {}
    for sample in read_samples(samples):
        top_p = "none" if sample.setting.top_p is None else sample.setting.top_p
        title = f"temperature {sample.setting.temperature}, top_p {top_p}, seed {sample.seed}"
        card = f'<div class="card"><b>{title}</b><p>{pages.text(sample.text)}</p></div>'
        cards.setdefault(sample.prompt, []).append(card)
    parts = [
        f'<h3>“{pages.text(prompt)}”</h3>\n<div class="cards">{"".join(texts)}</div>' for prompt, texts in cards.items()
    ]
    _write(path, pages.page("Samples", *parts))


def write_environment_page(path: str | Path) -> None:
    """Machine and versions."""
    rows = [
        ("system", platform.platform()),
        ("processor", f"{_processor()}, {os.cpu_count()} logical cores"),
        ("Python", platform.python_version()),
        *((name, _version(name)) for name in PACKAGES),
    ]
    _write(path, pages.page("Environment", pages.table(("what", "is"), rows, words=("what", "is"))))


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:  # not Linux
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _write(path: str | Path, text: str) -> None:
    with atomic_write(path) as handle:
        handle.write(text)
