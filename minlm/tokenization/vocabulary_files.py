"""vocab.json and merges.txt in GPT-2's spelling, so that other tokenizer libraries load them unchanged.

vocab.json maps each token to its id; merges.txt has one pair of tokens per line, in the order of training. Each byte is
spelled as one printable character (a space is "Ġ"), so any byte survives and a space can separate the pair. The first
line of merges.txt is a version, which other libraries skip. If pattern or special tokens are not the usual ones, they
follow there: #version: 0.2 {"pattern": "gpt4", "special_tokens": ["<|endoftext|>", "<|user|>"]}
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

from minlm.documents import SEPARATOR
from minlm.errors import MinlmError
from minlm.reading import parse_json, quote, reading
from minlm.tokenization.linked_tokens import Merge

MAX_ID = (1 << 24) - 1  # the embedding and other tables have a row for each id up to the largest
REMEDY = "Make it again with train_tokenizer."


def _byte_characters() -> list[str]:
    """The character for each byte: itself if it is printable Latin-1, otherwise the next free one from U+0100 on."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


BYTE_CHARACTERS = _byte_characters()
_TO_CHARACTER = dict(enumerate(BYTE_CHARACTERS))  # for str.translate
_TO_BYTE = {ord(character): byte for byte, character in enumerate(BYTE_CHARACTERS)}
_SPELLED = frozenset(BYTE_CHARACTERS)


@lru_cache(1 << 17)  # a token occurs in both files, and in several merges
def spell(token: bytes) -> str:
    """A token as the files spell it: `b" the"` is "Ġthe"."""
    return token.decode("latin-1").translate(_TO_CHARACTER)


@lru_cache(1 << 17)
def unspell(characters: str) -> bytes:
    """The token of a spelling; raises `KeyError` for a character that spells no byte."""
    if not _SPELLED.issuperset(characters):
        raise KeyError(next(character for character in characters if character not in _SPELLED))
    return characters.translate(_TO_BYTE).encode("latin-1")


def write_vocab(file: IO[str], vocab: dict[int, bytes]) -> None:
    """Write vocab.json, one token per line, in the order of the ids."""
    entries = {spell(vocab[index]): index for index in sorted(vocab)}
    text = json.dumps(entries, ensure_ascii=False, separators=(",\n", ": "))  # `indent` would be ten times slower
    file.write("{\n" + text[1:-1] + "\n}\n")


class Header(NamedTuple):
    """What the first line of merges.txt states."""

    pattern: str = "gpt2"
    special_tokens: Sequence[str] | None = None  # None: `default_special_tokens`


def default_special_tokens(vocab: Mapping[int, bytes]) -> list[str]:
    """The special tokens of a vocabulary whose files state none: `<|endoftext|>`, if it has that."""
    return [SEPARATOR] if SEPARATOR.encode() in vocab.values() else []


def write_merges(
    file: IO[str], merges: list[Merge], vocab: Mapping[int, bytes], special_tokens: Sequence[str], pattern: str
) -> None:
    """Write merges.txt, with pattern and special tokens in its first line if they are not the usual ones."""
    header = Header(pattern, list(special_tokens))
    is_usual = header == ("gpt2", default_special_tokens(vocab))
    file.write("#version: 0.2" + ("" if is_usual else f" {json.dumps(header._asdict())}") + "\n")
    file.writelines(f"{spell(first)} {spell(second)}\n" for first, second in merges)


def read_vocab(path: str | Path) -> dict[int, bytes]:
    """Read vocab.json: id → token.

    Raises:
        MinlmError: the file is missing, damaged or not a vocabulary, or two tokens have the same id.
    """
    text = _read(path, "a vocabulary")
    with reading(path, "a vocabulary", REMEDY):
        entries = parse_json(text)
        if not isinstance(entries, dict):
            raise ValueError("it must be one JSON object of token: id")
        if entries and all(key.isdigit() and isinstance(token, str) for key, token in entries.items()):
            raise ValueError("it has token ids as keys. Files of this project have tokens as keys: train again")
    vocab: dict[int, bytes] = {}
    for token, index in entries.items():
        if type(index) is not int or not 0 <= index <= MAX_ID:
            raise MinlmError(
                f"{path}: the id of token {quote(token)} is {quote(index)}, not a whole number from 0 to {MAX_ID:,}"
            )
        if index in vocab:
            other = quote(spell(vocab[index]))
            raise MinlmError(f"{path}: the tokens {other} and {quote(token)} have the same id {index}")
        try:
            vocab[index] = unspell(token)
        except KeyError as error:
            raise MinlmError(f"{path}: token {quote(token)} has the character {error}, which spells no byte") from error
    return vocab


def read_merges(path: str | Path) -> tuple[list[Merge], Header]:
    """Read merges.txt, with or without the version line.

    Raises:
        MinlmError: the file is missing or not UTF-8, or a line is not two tokens separated by a space.
    """
    lines = _read(path, "a list of merges").removesuffix("\n").split("\n")
    first, header = (2, _parse_header(path, lines[0])) if lines[0].startswith("#version") else (1, Header())
    merges = []
    for number, line in enumerate(lines[first - 1 :] if lines != [""] else [], start=first):
        try:
            left, right = map(unspell, line.split(" "))
            if not (left and right):
                raise ValueError
        except (ValueError, KeyError) as error:
            raise MinlmError(f"{path}, line {number}: {quote(line)} is not two tokens with a space between") from error
        merges.append((left, right))
    return merges, header


def _parse_header(path: str | Path, line: str) -> Header:
    stated = line[line.find("{") :] if "{" in line else "{}"
    with reading(path, "a list of merges with a pattern and special tokens in line 1", REMEDY):
        header = Header(**parse_json(stated))
        tokens = header.special_tokens or []
        if not (isinstance(tokens, list) and all(isinstance(text, str) for text in (header.pattern, *tokens))):
            raise ValueError("they must be a text and a list of texts")
    return header


def _read(path: str | Path, what: str) -> str:
    with reading(path, what, REMEDY):
        return Path(path).read_text(encoding="utf-8")
