"""Training a tokenizer on a text, or on its word counts, to its two files."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minlm.atomic import atomic_write
from minlm.bulk.count_words import count_words
from minlm.bulk.options import DEFAULT, Options
from minlm.bulk.text_file import total_bytes
from minlm.tokenization.backend import choose_backend_for_words, load_backend
from minlm.tokenization.vocabulary import initial_vocab, train_bpe
from minlm.tokenization.vocabulary_files import write_merges, write_vocab


@dataclass
class TrainedFiles:
    """The files that `train_tokenizer` wrote, and where its time went."""

    vocab_path: Path
    merges_path: Path
    num_tokens: int
    num_merges: int
    seconds: dict[str, float]


def train_tokenizer(
    input_file: str | Path,
    output_dir: str | Path,
    prefix: str | None = None,
    vocab_size: int = 10_000,
    special_tokens: Sequence[str] = ("<|endoftext|>",),
    options: Options = DEFAULT,
    pattern: str = "gpt2",
) -> TrainedFiles:
    """Train on a text, or on an `.npz` of word counts, and write `{prefix}vocab.json` and `{prefix}merges.txt`.

    The default prefix is the name of the input: data/train.txt gives train_vocab.json and train_merges.txt.

    Raises:
        MinlmError: see `count_words` and `train_bpe`; or the files cannot be written.
    """
    initial_vocab(vocab_size, special_tokens)  # these two raise before any work
    total_bytes([input_file])
    prefix = f"{Path(input_file).stem}_" if prefix is None else prefix
    vocab_path, merges_path = (Path(output_dir) / f"{prefix}{name}" for name in ("vocab.json", "merges.txt"))
    seconds: dict[str, float] = {}
    with atomic_write(vocab_path) as vocab_file, atomic_write(merges_path) as merges_file:
        counts = count_words([input_file], special_tokens, options, seconds, pattern)
        counted = time.perf_counter()
        learn = load_backend(choose_backend_for_words(options.backend, counts)).learn_merges
        vocab, merges = train_bpe(counts, vocab_size, special_tokens, learn)
        merged = time.perf_counter()
        write_vocab(vocab_file, vocab)
        write_merges(merges_file, merges, vocab, special_tokens, pattern)
    seconds |= {"merging": merged - counted, "writing": time.perf_counter() - merged}
    return TrainedFiles(vocab_path, merges_path, len(vocab), len(merges), seconds)
