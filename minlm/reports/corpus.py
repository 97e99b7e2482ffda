"""What the corpora hold: documents, words, tokens and shares as a table; lengths and frequent words as a picture.

Each file is read twice, a block at a time: once for its documents (`mix.scan`), once for its words. The tokens follow
from the words: a word is always cut into the same tokens, so each distinct word is encoded once.
"""

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files, no windows

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
from minlm.tokenization import BPETokenizer
from minlm.tokenization.backend import choose_backend_for_words

SPLITS = ("train", "valid")
COLUMNS = ("corpus", "split", "documents", "words", "bytes", "tokens", "tokens_per_word", "share", "passes")
SHOWN_WORDS = 25
COLORS = ("#0072b2", "#d55e00", "#4d4d4d")  # told apart by lightness too, and by people who see fewer colors
DASHES, MARKERS = ("-", "-", "--"), ("o", "s", "x")
_WORDS_AT_A_TIME = 10_000


@dataclass
class Content:
    """What one file of a corpus holds.

    `words` are matches of `\\b\\w+\\b`, `tokens` those of the text without the `<|endoftext|>` behind each document.
    """

    documents: int
    words: int
    bytes: int
    tokens: int
    lengths: IntArray  # (n,): how many documents have 0, 1, 2, … words
    frequent: Counter[str]  # words of letters only, in lower case


def report_corpora(
    corpora: Mapping[str, str | Path],
    tokenizer: BPETokenizer,
    output_csv: str | Path,
    output_png: str | Path,
    mixture: str | Path | None = None,
    options: Options = DEFAULT,
) -> list[dict[str, Any]]:
    """Write the table and the picture of some corpora.

    Args:
        corpora: name → folder with train.txt and valid.txt; the last one is the mix, if there are several.
        tokenizer: cuts the words into tokens.
        output_csv: table to write, see `COLUMNS`; a row for each file.
        output_png: picture to write, of the training texts.
        mixture: what `mix_corpora` recorded. It gives `share`, the part of the mix's words that is from a corpus, and
            `passes`, how often the corpus was read for that. Both stay empty for what is not in the record.
        options: of counting words, such as the number of threads.

    Returns:
        The rows of the table.

    Raises:
        MinlmError: a file is missing, empty or not UTF-8, or `mixture` is not a record of mixing.
    """
    for output in (output_csv, output_png):
        check_writable(output)
    given = _read_record(mixture) if mixture is not None else {}
    rows, contents = [], {}
    for split in SPLITS:
        for name, folder in corpora.items():
            path = Path(folder) / f"{split}.txt"
            content = measure(path, tokenizer, options)
            values = (
                name, split, content.documents, content.words, content.bytes, content.tokens,
                round(content.tokens / content.words, 4), *given.get(path, ("", "")),
            )  # fmt: skip
            rows.append(dict(zip(COLUMNS, values, strict=True)))
            log.info(_line(rows[-1]))
            if split == "train":
                contents[name] = content
    with atomic_write(output_csv) as out:
        table = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    draw(contents, output_png)
    return rows


def measure(path: Path, tokenizer: BPETokenizer, options: Options) -> Content:
    """Documents, words and tokens of one corpus file.

    Raises:
        MinlmError: the file is empty or not UTF-8, or has no word.
    """
    spans = scan(path)
    if spans.total_words == 0:
        raise MinlmError(f"{path} holds no words; delete it and make it again")
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
    """How many tokens all the counted words are."""
    encoder = tokenizer.make_encoder(choose_backend_for_words(tokenizer.backend, counts))
    words, total = counts.words(), 0
    (end_of_word,) = tokenizer.encode(SEPARATOR)
    for first in range(0, len(words), _WORDS_AT_A_TIME):
        some = words[first : first + _WORDS_AT_A_TIME]
        ids = np.asarray(encoder.encode(b"".join(word + SEPARATOR.encode() for word in some)))
        (ends,) = np.nonzero(ids == end_of_word)
        num_tokens = np.diff(ends, prepend=-1) - 1
        total += int(num_tokens @ counts.counts[first : first + _WORDS_AT_A_TIME])
    return total


def frequent_words(counts: WordCounts) -> Counter[str]:
    """How often words of letters occur, upper and lower case taken together."""
    frequent: Counter[str] = Counter()
    for word, count in zip(counts.words(), counts.counts.tolist(), strict=True):
        if (text := word.decode().strip(" ").lower()).isalpha():
            frequent[text] += count
    return frequent


def draw(contents: Mapping[str, Content], output: str | Path) -> None:
    """Write the picture: how long the documents are, and the most frequent words."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained", width_ratios=(3, 2))
    _draw_lengths(left, contents)
    _draw_words(right, contents)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
    with atomic_write(output, "wb") as handle:
        figure.savefig(handle, format="png", dpi=130, metadata={"Software": None})  # the same corpora, the same bytes
    plt.close(figure)


def length_histogram(lengths: IntArray) -> tuple[np.ndarray, np.ndarray]:
    """Histogram of document lengths with ten bins from n to 10 n words, fewer below 10.

    Args:
        lengths: (n,), how many documents have 0, 1, 2, … words.

    Returns:
        Edges of the bins in words, shape (k + 1,), and percent of the documents in each, shape (k,).
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
    *_, largest = contents.values()  # the mix, where there is one
    words = [word for word, _ in sorted(largest.frequent.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_WORDS]]
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
    """Share and passes of each file that was mixed."""
    with reading(path, "a record of mixing", "Delete it and mix again."):
        record = parse_json(Path(path).read_text(encoding="utf-8"))
        found = {}
        for sources in record.values():
            total = sum(source["words"] for source in sources.values())
            for name, source in sources.items():
                found[Path(name)] = (round(source["words"] / total, 4), round(source["passes"], 4))
        return found


def _line(row: Mapping[str, Any]) -> str:
    share = f", {row['share']:.1%} of the mix, read {row['passes']:.2f} times" if row["share"] != "" else ""
    return (
        f"{row['corpus']} {row['split']}: {row['documents']:,} documents, {row['words']:,} words, "
        f"{row['bytes'] / 1e6:,.1f} MB, {row['tokens']:,} tokens ({row['tokens_per_word']:.2f} per word){share}"
    )
