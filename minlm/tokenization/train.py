"""Training byte-pair encoding: merge the most frequent pair of neighbors, again and again.

Sennrich et al. 2016 on the bytes of GPT-2's words (Radford et al. 2019).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minlm.atomic import atomic_write
from minlm.bulk.count_words import Stopwatch, count_words
from minlm.errors import MinlmError
from minlm.fast.tokenization.options import (
    BYTES_PER_BYTE_OF_WORDS,
    DEFAULT,
    Options,
    choose_backend_for_files,
    load_backend,
)
from minlm.fast.tokenization.ranges import total_bytes
from minlm.progress import Progress, log
from minlm.tokenization.pretokenize import PreTokenizer
from minlm.tokenization.vocabulary_files import Merge, write_merges, write_vocab
from minlm.tokenization.word_counts import WordCounts


def train_bpe(
    counts: WordCounts | Mapping[bytes, int], vocab_size: int, special_tokens: Sequence[str] = (),
    backend: str = "auto",
) -> tuple[dict[int, bytes], list[Merge]]:  # fmt: skip
    """Learn a vocabulary from word counts.

    Of equally frequent pairs the lexicographically greater one (as a pair of byte strings) is merged first. If there
    are fewer pairs than asked for, the vocabulary is smaller and a warning says so.

    Args:
        counts: how often each word occurs.
        vocab_size: bytes, special tokens and merges together.
        special_tokens: get the ids behind the bytes.
        backend: see `Options`.

    Returns:
        vocab (id → bytes; ids 0–255 are the bytes, then the special tokens, then the merges) and the merges in order.

    Raises:
        MinlmError: `vocab_size` is too small, a special token is a single byte, or there are too many words.
    """
    vocab = initial_vocab(vocab_size, special_tokens)
    if not isinstance(counts, WordCounts):
        counts = WordCounts.from_dict(counts)
    num_merges = vocab_size - len(vocab)
    chosen = choose_backend_for_files(backend, BYTES_PER_BYTE_OF_WORDS * len(counts.joined))
    with Progress(num_merges, "training", "merges") as progress:
        merges: list[Merge] = load_backend(chosen).learn_merges(counts, num_merges, progress.update)
    for left, right in merges:
        vocab[len(vocab)] = left + right
    if len(vocab) < vocab_size:
        log.warning(
            f"warning: the text has only {len(merges):,} pairs to merge, so the vocabulary has {len(vocab):,} tokens "
            f"instead of {vocab_size:,}"
        )
    return vocab, merges


def initial_vocab(vocab_size: int, special_tokens: Sequence[str]) -> dict[int, bytes]:
    """The bytes, then the special tokens; checks that they fit into `vocab_size` and can be told apart."""
    PreTokenizer(special_tokens)  # complains about empty and repeated ones
    smallest = 256 + max(len(special_tokens), 1)
    if vocab_size < smallest:
        raise MinlmError(f"vocab_size must be at least {smallest} (256 bytes and the special tokens), not {vocab_size}")
    vocab = {byte: bytes([byte]) for byte in range(256)}
    for token in special_tokens:
        if len(token.encode()) == 1:
            raise MinlmError(f"the special token {token!r} is a single byte, which is a token already; name another")
        vocab[len(vocab)] = token.encode()
    return vocab


@dataclass
class TrainedFiles:
    """What `train_tokenizer` made, and where its seconds went."""

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
) -> TrainedFiles:
    """Train on a text, or on an `.npz` of word counts, and write `{prefix}vocab.json` and `{prefix}merges.txt`.

    Without `prefix` it is the name of the input: data/train.txt gives train_vocab.json and train_merges.txt.

    Raises:
        MinlmError: see `count_words` and `train_bpe`; or the files cannot be written.
    """
    initial_vocab(vocab_size, special_tokens)  # these two complain before any work is done
    total_bytes([input_file])
    prefix = f"{Path(input_file).stem}_" if prefix is None else prefix
    vocab_path, merges_path = (Path(output_dir) / f"{prefix}{name}" for name in ("vocab.json", "merges.txt"))
    stopwatch = Stopwatch()
    with atomic_write(vocab_path) as vocab_file, atomic_write(merges_path) as merges_file:
        counts = count_words([input_file], special_tokens, options, in_order=False, stopwatch=stopwatch)
        vocab, merges = train_bpe(counts, vocab_size, special_tokens, options.backend)
        stopwatch.lap("merging")
        write_vocab(vocab_file, vocab)
        write_merges(merges_file, merges)
        stopwatch.lap("writing")
    return TrainedFiles(vocab_path, merges_path, len(vocab), len(merges), stopwatch.seconds)
