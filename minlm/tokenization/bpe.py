"""The public class: a vocabulary and its merges, with everything that can be done with them."""

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from minlm.atomic import atomic_write
from minlm.errors import MinlmError
from minlm.progress import log
from minlm.tokenization.backend import (
    check_backend,
    choose_backend,
    choose_backend_for_words,
    count_words_of_file,
    load_backend,
)
from minlm.tokenization.encode import decode
from minlm.tokenization.linked_tokens import Merge
from minlm.tokenization.patterns import word_finder
from minlm.tokenization.pretokenize import PreTokenizer
from minlm.tokenization.segments import segments
from minlm.tokenization.vocabulary import check_complete, check_merges, initial_vocab, train_bpe
from minlm.tokenization.vocabulary_files import (
    default_special_tokens,
    read_merges,
    read_vocab,
    write_merges,
    write_vocab,
)

_ENCODING = threading.Lock()


class BPETokenizer:
    """Turns text into ids and back.

    A text is split at special tokens and cut into words (`pretokenize`). Each word starts as its bytes; of all pairs of
    neighbors that are a merge, the one learned first is merged, until none is left (`encode`).

    Args:
        vocab: id → bytes; has all 256 single bytes.
        merges: pairs of tokens in the order in which they were learned; `vocab` has both halves and the whole.
        special_tokens: strings that are one token wherever they occur in a text; where several match, the longest
            wins. Those that are not in `vocab` get new ids after the largest.
        backend: "numba" for compiled code, "python" for the code of this folder, "auto" for the faster one (see
            `backend`); the ids are the same.
        pattern: what a word is: "gpt2", "gpt4", "marks" or a regular expression; see `patterns`.

    Attributes:
        vocab, merges, special_tokens, pattern: as above, with the new ids. Do not change them.

    Raises:
        MinlmError: vocab and merges do not fit each other, or the pattern is not a regular expression.
    """

    def __init__(
        self, vocab: dict[int, bytes], merges: list[Merge], special_tokens: Sequence[str] | None = None,
        backend: str = "auto", pattern: str = "gpt2",
    ):  # fmt: skip
        check_backend(backend)
        self.backend = backend
        self._encoder: Any = None
        self._encoder_backend = ""
        self._num_bytes = 0  # encoded so far
        self.vocab, self.merges, self.special_tokens = dict(vocab), list(merges), list(special_tokens or [])
        self.pattern = pattern
        PreTokenizer(self.special_tokens)  # raises if one is empty or repeated
        word_finder(pattern)  # raises if it is not one
        self._ids = {token: index for index, token in self.vocab.items()}
        if len(self._ids) < len(self.vocab):
            twice = next(token for index, token in self.vocab.items() if self._ids[token] != index)
            raise MinlmError(f"the vocabulary has the token {twice!r} twice")
        for token in map(str.encode, self.special_tokens):
            if token not in self._ids:
                self._ids[token] = index = max(self.vocab, default=-1) + 1
                self.vocab[index] = token
        check_merges(self.merges, self._ids)

    @classmethod
    def train(
        cls, input_path: str | Path, vocab_size: int, special_tokens: Sequence[str], backend: str = "auto",
        pattern: str = "gpt2",
    ) -> "BPETokenizer":  # fmt: skip
        """Learn a vocabulary from a UTF-8 text file or an `.npz` file of word counts; see `train_bpe`."""
        initial_vocab(vocab_size, special_tokens)  # raises before the text is read
        counts = count_words_of_file(input_path, special_tokens, backend, pattern)
        learn = load_backend(choose_backend_for_words(backend, counts)).learn_merges
        return cls(*train_bpe(counts, vocab_size, special_tokens, learn), special_tokens, backend, pattern)

    @classmethod
    def from_files(
        cls, vocab_path: str | Path, merges_path: str | Path, special_tokens: Sequence[str] | None = None,
        backend: str = "auto",
    ) -> "BPETokenizer":  # fmt: skip
        """Read vocab.json and merges.txt: trained here, GPT-2's, or others in that format.

        The files state the pattern and the special tokens; `special_tokens` are further ones.

        Raises:
            MinlmError: a file is missing or damaged, or vocabulary and merges do not fit each other.
        """
        vocab, (merges, header) = read_vocab(vocab_path), read_merges(merges_path)
        stated = default_special_tokens(vocab) if header.special_tokens is None else header.special_tokens
        try:
            tokenizer = cls(
                vocab, merges, list(dict.fromkeys([*stated, *(special_tokens or [])])), backend, header.pattern
            )
            check_complete(tokenizer.vocab, merges, tokenizer.special_tokens, word_finder(header.pattern))
        except MinlmError as error:
            raise MinlmError(f"{vocab_path} and {merges_path}: {error}") from error
        for index in sorted(tokenizer.vocab.keys() - vocab.keys()):
            token = tokenizer.vocab[index].decode()
            log.warning(f"warning: the special token {token} is not in {vocab_path}; it gets the new id {index}")
        return tokenizer

    def save(self, vocab_path: str | Path, merges_path: str | Path) -> None:
        """Write vocab.json and merges.txt in GPT-2's format (see `vocabulary_files`)."""
        with atomic_write(vocab_path) as vocab_file, atomic_write(merges_path) as merges_file:
            write_vocab(vocab_file, self.vocab)
            write_merges(merges_file, self.merges, self.vocab, self.special_tokens, self.pattern)

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 of vocabulary, merges and pattern; it does not depend on the layout of their files."""
        digest = hashlib.sha256()
        if self.pattern != "gpt2":
            digest.update(f"{self.pattern}\n".encode())
        for index in sorted(self.vocab):
            digest.update(f"{index} {self.vocab[index].hex()}\n".encode())
        for first, second in self.merges:
            digest.update(f"{first.hex()} {second.hex()}\n".encode())
        return digest.hexdigest()

    def encode(self, text: str) -> list[int]:
        """The ids of a text.

        Raises:
            MinlmError: the text has half of a surrogate pair, which UTF-8 cannot represent.
        """
        try:
            content = text.encode()
        except UnicodeEncodeError as error:
            raise MinlmError(f"the text has half of a surrogate pair ({error}), which is not a character") from error
        with _ENCODING:  # an encoder has buffers of its own
            self._num_bytes += len(content)
            if self._encoder_backend != "numba":  # "auto" starts in plain Python and changes when much has been encoded
                backend = choose_backend(self.backend, self._num_bytes, self.pattern)
                if backend != self._encoder_backend:
                    self._encoder, self._encoder_backend = self.new_encoder(backend), backend
            return self._encoder.encode(content).tolist()

    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of a text in which what looks like a special token is ordinary text; raises as `encode` does."""
        return self._without_special_tokens.encode(text)

    @cached_property
    def _without_special_tokens(self) -> "BPETokenizer":
        return BPETokenizer(self.vocab, self.merges, None, self.backend, self.pattern)

    def new_encoder(self, backend: str) -> Any:
        """An `Encoder` of the backend "numba" or "python". Each thread needs one of its own."""
        return load_backend(backend).Encoder(self._ids, self.merges, self.special_tokens, self.pattern)

    def encode_iterable(self, iterable: Iterable[str]) -> Iterator[int]:
        """The ids of the joined strings, wherever the text is cut, a few thousand characters at a time."""
        for segment in segments(iterable, self.special_tokens, self.pattern):
            yield from self.encode(segment)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of ids.

        Raises:
            MinlmError: there is no token with such an id.
        """
        try:
            return decode(ids, self.vocab)
        except KeyError as error:
            raise MinlmError(f"there is no token with id {error}; the vocabulary ends at {max(self.vocab)}") from error
