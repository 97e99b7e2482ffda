"""Training byte-pair encoding: merge the most frequent pair of neighbors, again and again.

Sennrich et al. 2016 on the bytes of GPT-2's words (Radford et al. 2019).
"""

from collections.abc import Mapping, Sequence

from minlm.errors import MinlmError
from minlm.progress import Progress, log
from minlm.tokenization.pretokenize import PreTokenizer
from minlm.tokenization.vocabulary_files import Merge
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
    from minlm.fast.tokenization.options import BYTES_PER_BYTE_OF_WORDS, choose_backend_for_files, load_backend

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
