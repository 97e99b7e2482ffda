"""A report on corpora: a table of documents, words, tokens and shares; a figure of lengths and frequent words.

Each file is read twice, a block at a time: once for its documents (`mix.scan`), once for its words. A word is always
cut into the same tokens, so it is enough to encode each distinct word once.
"""

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from minlm.atomic import atomic_write, check_writable
from minlm.bulk.count_words import count_words
from minlm.bulk.options import DEFAULT, Options
from minlm.corpus.mix import IntArray, scan
from minlm.documents import SEPARATOR
from minlm.errors import MinlmError
from minlm.fast.tokenization.word_counts import WordCounts
from minlm.progress import log
from minlm.reading import parse_json, reading
from minlm.reports.figures import save_figure, style_axes
from minlm.tokenization import BPETokenizer
from minlm.tokenization.backend import choose_backend_for_words

SPLITS = ("train", "valid")
COLUMNS = ("corpus", "split", "documents", "words", "bytes", "tokens", "tokens_per_word", "share", "passes")
SHOWN_WORDS = 25
COLORS = ("#0072b2", "#d55e00", "#4d4d4d")  # distinct in lightness too, and for color-blind readers
DASHES, MARKERS = ("-", "-", "--"), ("o", "s", "x")
WORDS_PER_BLOCK = 10_000  # encoded together


@dataclass
class Content:
    """The contents of one file of a corpus, in numbers.

    Attributes:
        documents: number of documents with at least one word.
        words: number of matches of `\\b\\w+\\b`.
        bytes: size of the file.
        tokens: number of tokens, without the `<|endoftext|>` after each document.
        lengths: (n,), the number of documents with 0, 1, 2, … words.
        frequent: occurrences of each word that consists of letters, in lower case.
    """

    documents: int
    words: int
    bytes: int
    tokens: int
    lengths: IntArray
    frequent: Counter[str]


def report_corpora(
    corpora: Mapping[str, str | Path],
    tokenizer: BPETokenizer,
    output_csv: str | Path,
    output_png: str | Path,
    mixture: str | Path | None = None,
    options: Options = DEFAULT,
) -> list[dict[str, Any]]:
    """Write a table and a figure about some corpora.

    Args:
        corpora: name → folder with train.txt and valid.txt. The last of several is the mix of the others.
        tokenizer: cuts the words into tokens.
        output_csv: table to write, with `COLUMNS` and a row for each file.
        output_png: figure to write, about the training texts.
        mixture: the record of `mix_corpora`. It gives `share`, the fraction of the mix's words that come from a corpus,
            and `passes`, the number of times the corpus was read. Both stay empty for files without a record.
        options: how to count words, for example the number of threads.

    Returns:
        The rows of the table.

    Raises:
        MinlmError: a file is missing, empty or not UTF-8, or `mixture` is not a record of mixing.
    """
    for output in (output_csv, output_png):
        check_writable(output)
    shares = _read_record(mixture) if mixture is not None else {}
    rows, contents = [], {}
    for split in SPLITS:
        for name, folder in corpora.items():
            path = Path(folder) / f"{split}.txt"
            content = measure(path, tokenizer, options)
            values = (
                name, split, content.documents, content.words, content.bytes, content.tokens,
                round(content.tokens / content.words, 4), *shares.get(path, ("", "")),
            )  # fmt: skip
            rows.append(dict(zip(COLUMNS, values, strict=True)))
            log.info(_summary(rows[-1]))
            if split == "train":
                contents[name] = content
    with atomic_write(output_csv) as out:
        table = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    draw(contents, output_png)
    return rows


def measure(path: Path, tokenizer: BPETokenizer, options: Options) -> Content:
    """Measure one file of a corpus.

    Raises:
        MinlmError: the file is empty or not UTF-8, or has no words.
    """
    spans = scan(path)
    if spans.total_words == 0:
        raise MinlmError(f"{path} holds no words; delete it and make it again.")
    counts = count_words([path], [SEPARATOR], options)
    return Content(
        documents=len(spans.words),
        words=spans.total_words,
        bytes=path.stat().st_size,
        tokens=count_tokens(counts, tokenizer),
        lengths=np.bincount(spans.words),
        frequent=frequent_words(counts),
    )


def count_tokens(counts: WordCounts, tokenizer: BPETokenizer) -> int:
    """Count the tokens of all counted words."""
    encoder = tokenizer.new_encoder(choose_backend_for_words(tokenizer.backend, counts))
    words, total = counts.words(), 0
    (end_of_word,) = tokenizer.encode(SEPARATOR)
    for first in range(0, len(words), WORDS_PER_BLOCK):
        some = words[first : first + WORDS_PER_BLOCK]
        ids = np.asarray(encoder.encode(b"".join(word + SEPARATOR.encode() for word in some)))
        (ends,) = np.nonzero(ids == end_of_word)
        num_tokens = np.diff(ends, prepend=-1) - 1
        total += int(num_tokens @ counts.counts[first : first + WORDS_PER_BLOCK])
    return total


def frequent_words(counts: WordCounts) -> Counter[str]:
    """Count the words that consist of letters, regardless of case."""
    frequent: Counter[str] = Counter()
    for word, count in zip(counts.words(), counts.counts.tolist(), strict=True):
        if (text := word.decode().strip(" ").lower()).isalpha():
            frequent[text] += count
    return frequent


def draw(contents: Mapping[str, Content], output: str | Path) -> None:
    """Draw the lengths of the documents and the most frequent words, as a PNG."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained", width_ratios=(3, 2))
    _draw_lengths(left, contents)
    _draw_words(right, contents)
    for axes in (left, right):
        style_axes(axes)
        axes.set_axisbelow(True)
    save_figure(figure, output)


def length_histogram(lengths: IntArray) -> tuple[np.ndarray, np.ndarray]:
    """Histogram of document lengths, with ten bins from n to 10 n words and fewer below 10 words.

    Args:
        lengths: (n,), the number of documents with 0, 1, 2, … words.

    Returns:
        the edges of the bins in words, (k + 1,), and the percentage of documents in each bin, (k,).
    """
    edges = np.unique(np.round(10 ** np.arange(0, np.log10(len(lengths)) + 0.1, 0.1)).astype(int))
    shorter = np.concatenate([[0], np.cumsum(lengths)])  # documents with fewer than 0, 1, 2, … words
    documents = np.diff(shorter[np.minimum(edges, len(lengths))])
    return edges, 100 * documents / shorter[-1]


def _draw_lengths(axes: Axes, contents: Mapping[str, Content]) -> None:
    for (name, content), color, dashes in zip(contents.items(), COLORS, DASHES, strict=False):
        edges, percent = length_histogram(content.lengths)
        median = int(np.searchsorted(np.cumsum(content.lengths), (content.documents + 1) // 2))
        axes.stairs(percent, edges, color=color, linestyle=dashes, linewidth=1.8, label=f"{name} (median {median:,})")
        axes.stairs(percent, edges, color=color, alpha=0.12, fill=True)
    shown = np.concatenate([np.flatnonzero(content.lengths)[[0, -1]] for content in contents.values()])
    axes.set_xscale("log")
    axes.set_xlim(max(shown.min() * 0.8, 0.9), shown.max() * 1.25)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("length of a document (words)")
    axes.set_ylabel("documents (% in each bin)")
    axes.set_title("How long the documents are", loc="left")
    axes.legend(frameon=False)


def _draw_words(axes: Axes, contents: Mapping[str, Content]) -> None:
    *_, mix = contents.values()  # or the only corpus
    words = sorted(mix.frequent, key=lambda word: (-mix.frequent[word], word))[:SHOWN_WORDS]
    places = np.arange(len(words))
    for (name, content), color, marker in zip(contents.items(), COLORS, MARKERS, strict=False):
        rates = [1000 * content.frequent[word] / content.words for word in words]
        axes.plot(rates, places, marker, color=color, markersize=5, label=name)
    axes.set_yticks(places, words)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("occurrences per 1,000 words")
    axes.set_title("The most frequent words", loc="left")
    if len(contents) > 1:
        axes.legend(frameon=False, loc="lower right")


def _read_record(path: str | Path) -> dict[Path, tuple[float, float]]:
    """Read the share and the passes of each file that was mixed."""
    with reading(path, "a record of mixing", "Delete it and mix again."):
        record = parse_json(Path(path).read_text(encoding="utf-8"))
        shares = {}
        for sources in record.values():
            total = sum(source["words"] for source in sources.values())
            for name, source in sources.items():
                shares[Path(name)] = (round(source["words"] / total, 4), round(source["passes"], 4))
        return shares


def _summary(row: Mapping[str, Any]) -> str:
    share = f", {row['share']:.1%} of the mix, read {row['passes']:.2f} times" if row["share"] != "" else ""
    return (
        f"{row['corpus']} {row['split']}: {row['documents']:,} documents, {row['words']:,} words, "
        f"{row['bytes'] / 1e6:,.1f} MB, {row['tokens']:,} tokens ({row['tokens_per_word']:.2f} per word){share}"
    )
