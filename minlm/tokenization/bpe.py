"""Encoding and decoding with a byte-level BPE vocabulary."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from minlm.atomic import atomic_write
from minlm.errors import MinlmError
from minlm.progress import log
from minlm.tokenization.pretokenize import PreTokenizer, find_words
from minlm.tokenization.vocabulary_files import Merge, read_merges, read_vocab, write_merges, write_vocab


class BPETokenizer:
    """Text to ids and back.

    A text is cut at special tokens and into words (see `pretokenize`); each word starts as its bytes, and of all
    pairs of neighbors that are a merge, the one learned first is merged, until none is left.

    Args:
        vocab: id → bytes; has all 256 single bytes.
        merges: pairs of tokens in the order they were learned; both halves and the whole are in `vocab`.
        special_tokens: strings that are one token wherever they stand in a text; where several match, the longest
            wins. Those that are not in `vocab` get new ids behind the largest.
        backend: see `backends.Options`.

    Attributes:
        vocab, merges, special_tokens: as above, new ids included. Do not change them.
        pretokenizer: cuts text and streams of text.

    Raises:
        MinlmError: vocab and merges do not fit each other.
    """

    def __init__(
        self, vocab: dict[int, bytes], merges: list[Merge], special_tokens: Sequence[str] | None = None,
        backend: str = "auto",
    ):  # fmt: skip
        from minlm.fast.tokenization.options import choose_backend

        choose_backend(backend, 0)  # complains if there is no such backend
        self.backend = backend
        self._encoder: Any = None
        self._encoder_backend = ""
        self._num_bytes = 0  # encoded so far
        self.vocab, self.merges, self.special_tokens = dict(vocab), list(merges), list(special_tokens or [])
        self.pretokenizer = PreTokenizer(self.special_tokens)
        ids = {token: index for index, token in self.vocab.items()}
        if len(ids) < len(self.vocab):
            twice = next(token for index, token in self.vocab.items() if ids[token] != index)
            raise MinlmError(f"the vocabulary has the token {twice!r} twice")
        for token in self.special_tokens:
            if token.encode() not in ids:
                ids[token.encode()] = index = max(self.vocab, default=-1) + 1
                self.vocab[index] = token.encode()
        self._special_ids = {token: ids[token.encode()] for token in self.special_tokens}
        if missing := [byte for byte in range(256) if bytes([byte]) not in ids]:
            raise MinlmError(f"the vocabulary lacks the byte 0x{missing[0]:02x}, so not every text could be encoded")
        self._byte_ids = [ids[bytes([byte])] for byte in range(256)]
        self._merge_ids = _find_ids(self.merges, ids)

    @classmethod
    def train(
        cls, input_path: str | Path, vocab_size: int, special_tokens: Sequence[str], backend: str = "auto"
    ) -> "BPETokenizer":
        """Learn a vocabulary from a UTF-8 text file or an `.npz` of word counts; see `train.train_bpe`."""
        from minlm.bulk.count_words import count_words
        from minlm.fast.tokenization.options import Options
        from minlm.tokenization.train import initial_vocab, train_bpe

        initial_vocab(vocab_size, special_tokens)  # complains before the text is read
        counts = count_words([input_path], special_tokens, Options(backend=backend), in_order=False)
        return cls(*train_bpe(counts, vocab_size, special_tokens, backend), special_tokens, backend)

    @classmethod
    def from_files(
        cls, vocab_path: str | Path, merges_path: str | Path, special_tokens: Sequence[str] | None = None,
        backend: str = "auto",
    ) -> "BPETokenizer":  # fmt: skip
        """Read vocab.json and merges.txt: those trained here, GPT-2's, or others of that kind.

        Raises:
            MinlmError: a file is missing or damaged, or vocabulary and merges do not fit each other.
        """
        vocab, merges = read_vocab(vocab_path), read_merges(merges_path)
        try:
            tokenizer = cls(vocab, merges, special_tokens, backend)
            _check_reachable(tokenizer)
        except MinlmError as error:
            raise MinlmError(f"{vocab_path} and {merges_path}: {error}") from error
        for index in sorted(tokenizer.vocab.keys() - vocab.keys()):
            token = tokenizer.vocab[index].decode()
            log.warning(f"warning: the special token {token} is not in {vocab_path}; it gets the new id {index}")
        return tokenizer

    def save(self, vocab_path: str | Path, merges_path: str | Path) -> None:
        """Write vocab.json and merges.txt (GPT-2's format, see `files`)."""
        with atomic_write(vocab_path) as vocab_file, atomic_write(merges_path) as merges_file:
            write_vocab(vocab_file, self.vocab)
            write_merges(merges_file, self.merges)

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 of vocabulary and merges, whatever the files they came from look like."""
        digest = hashlib.sha256()
        for index in sorted(self.vocab):
            digest.update(f"{index} {self.vocab[index].hex()}\n".encode())
        for first, second in self.merges:
            digest.update(f"{first.hex()} {second.hex()}\n".encode())
        return digest.hexdigest()

    def encode(self, text: str) -> list[int]:
        """The ids of a text.

        Raises:
            MinlmError: the text has half a surrogate pair, which no UTF-8 text has.
        """
        try:
            whole = text.encode()
        except UnicodeEncodeError as error:
            raise MinlmError(f"the text holds half of a surrogate pair ({error}), which is not a character") from error
        self._num_bytes += len(whole)
        if self._encoder_backend != "numba":  # where kernels are to be compiled first, plain Python begins
            from minlm.fast.tokenization.options import choose_backend

            backend = choose_backend(self.backend, self._num_bytes)
            if backend != self._encoder_backend:
                self._encoder, self._encoder_backend = self.make_encoder(backend=backend), backend
        return self._encoder.encode(whole).tolist()

    def make_encoder(self, keep_invalid: bool = False, backend: str | None = None) -> Any:
        """A new `WordEncoder` of a backend (by default the tokenizer's); each thread needs its own."""
        from minlm.fast.tokenization.options import choose_backend, load_backend

        make = load_backend(backend or choose_backend(self.backend, 0)).WordEncoder
        return make(self._byte_ids, self._merge_ids, self._special_ids, keep_invalid)

    def encode_iterable(self, iterable: Iterable[str]) -> Iterator[int]:
        """The ids of the joined strings, however the text is cut into them, a few thousand characters at a time."""
        for segment in self.pretokenizer.segments(iterable):
            yield from self.encode(segment)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of ids, as they are.

        Raises:
            MinlmError: there is no token with such an id.
        """
        try:
            return b"".join([self.vocab[index] for index in ids])
        except KeyError as error:
            raise MinlmError(f"there is no token with id {error}; the vocabulary ends at {max(self.vocab)}") from error


def _find_ids(merges: list[Merge], ids: dict[bytes, int]) -> list[tuple[int, int, int]]:
    """The ids of both halves and of the whole of each merge."""
    found: dict[tuple[int, int], int] = {}
    for rank, (first, second) in enumerate(merges):
        for token in (first, second, first + second):
            if token not in ids:
                raise MinlmError(
                    f"vocabulary and merges do not fit each other: merge {rank + 1} needs {token!r}, which is no token"
                )
        pair = (ids[first], ids[second])
        if pair in found:
            raise MinlmError(f"merge {rank + 1} ({first!r}, {second!r}) was there before; each pair is merged once")
        found[pair] = ids[first + second]
    return [(*pair, whole) for pair, whole in found.items()]


def _check_reachable(tokenizer: BPETokenizer) -> None:
    """Find merges that are missing at the end of a file: a token that no merge makes, though a word could hold it.

    A token of several words, such as `<|endoftext|>`, may be a special token that this run has no use for.
    """
    made = {first + second for first, second in tokenizer.merges} | {
        token.encode() for token in tokenizer.special_tokens
    }
    for index, token in tokenizer.vocab.items():
        if len(token) > 1 and token not in made and len(find_words(token.decode(errors="replace"))) == 1:
            raise MinlmError(
                f"vocabulary and merges do not fit each other: no merge makes {token!r} (id {index}). "
                "If it is a special token, name it as one"
            )
