"""The vocabulary: training numbers its tokens; loading checks that it can encode every text."""

from collections.abc import Callable, Mapping, Sequence

from minlm.errors import MinlmError
from minlm.progress import Progress, log
from minlm.tokenization.linked_tokens import BYTES, Merge
from minlm.tokenization.pretokenize import PreTokenizer, find_words
from minlm.tokenization.train import learn_merges


def train_bpe(
    word_counts: Mapping[bytes, int],
    vocab_size: int,
    special_tokens: Sequence[str] = (),
    learn: Callable[..., list[Merge]] = learn_merges,
) -> tuple[dict[int, bytes], list[Merge]]:
    """Learn a vocabulary from word counts. If too few pairs occur, it is smaller than asked for, and a warning says so.

    Args:
        word_counts: how often each word occurs.
        vocab_size: number of bytes, special tokens and merges together.
        special_tokens: they get the ids after the bytes.
        learn: `learn_merges`, or a function that returns the same.

    Returns:
        The vocabulary (id → bytes: ids 0–255 are the bytes, then come the special tokens, then the merges) and the
        merges in order.

    Raises:
        MinlmError: `vocab_size` is too small, a special token is a single byte, or there are too many words.
    """
    vocab = initial_vocab(vocab_size, special_tokens)
    with Progress(vocab_size - len(vocab), "training", "merges") as progress:
        merges = learn(word_counts, vocab_size - len(vocab), progress.update)
    for left, right in merges:
        vocab[len(vocab)] = left + right
    if len(vocab) < vocab_size:
        log.warning(
            f"warning: the text has only {len(merges):,} pairs to merge, so the vocabulary has {len(vocab):,} tokens "
            f"instead of {vocab_size:,}"
        )
    return vocab, merges


def initial_vocab(vocab_size: int, special_tokens: Sequence[str]) -> dict[int, bytes]:
    """The bytes, then the special tokens; raises `MinlmError` as `train_bpe` does."""
    PreTokenizer(special_tokens)  # raises if one is empty or repeated
    smallest = 256 + max(len(special_tokens), 1)
    if vocab_size < smallest:
        raise MinlmError(f"vocab_size must be at least {smallest} (256 bytes and the special tokens), not {vocab_size}")
    vocab = dict(enumerate(BYTES))
    for token in special_tokens:
        if len(token.encode()) == 1:
            raise MinlmError(f"the special token {token!r} is a single byte, which is a token already; name another")
        vocab[len(vocab)] = token.encode()
    return vocab


def check_merges(merges: Sequence[Merge], ids: Mapping[bytes, int]) -> None:
    """Check that any text can be encoded: every byte is a token, and so are both halves and the whole of each merge.

    Raises:
        MinlmError: a token is missing, or a merge occurs twice.
    """
    if missing := [byte for byte in BYTES if byte not in ids]:
        raise MinlmError(f"the vocabulary lacks the byte 0x{missing[0].hex()}, so not every text could be encoded")
    seen: set[Merge] = set()
    for number, merge in enumerate(merges, start=1):
        first, second = merge
        for token in (first, second, first + second):
            if not token or token not in ids:
                raise MinlmError(
                    f"vocabulary and merges do not fit each other: merge {number} needs {token!r}, which is no token"
                )
        if merge in seen:
            raise MinlmError(f"merge {number} ({first!r}, {second!r}) was there before; each pair is merged once")
        seen.add(merge)


def check_complete(
    vocab: Mapping[int, bytes], merges: Sequence[Merge], special_tokens: Sequence[str],
    find_words: Callable[[str], list[str]] = find_words,
) -> None:  # fmt: skip
    """Check that no merges are missing, as when the end of their file was cut off.

    A token that is more than one word, such as `<|endoftext|>`, needs no merge: it can be a special token that this
    program does not use.

    Raises:
        MinlmError: no merge makes a token that is part of a word.
    """
    made = {first + second for first, second in merges} | {token.encode() for token in special_tokens}
    for index, token in vocab.items():
        if len(token) > 1 and token not in made and len(find_words(token.decode(errors="replace"))) == 1:
            raise MinlmError(
                f"vocabulary and merges do not fit each other: no merge makes {token!r} (id {index}). "
                "If it is a special token, name it as one"
            )
