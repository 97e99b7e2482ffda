"""Text that is not UTF-8: the error names the encoding, and the command in it gives the text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minlm.bulk.count_words import count_words
from minlm.corpus.gutenberg.books import decode
from minlm.corpus.local_files import collect_files
from minlm.corpus.mix import copy_corpus, scan
from minlm.encodings import wide_encoding
from minlm.errors import MinlmError

ENGLISH = "“It’s” a café, he said;\r\nand went — to the sea.\r\n" * 20
RUSSIAN = "Все счастливые семьи похожи друг на друга,\nкаждая несчастливая семья несчастлива по-своему.\n" * 20
CHINESE = "道可道，非常道。名可名，非常名。一生二，二生三。\n" * 20
ASCII = "Sing, O goddess, the anger of Achilles son of Peleus.\n" * 20
EMOJI = "A 😀 and a \U00010348.\n" * 20

WIDE = [
    *((text, name) for text in (ENGLISH, RUSSIAN, CHINESE, ASCII, EMOJI) for name in ("utf-16", "utf-32")),
    *((text, name) for text in (ENGLISH, RUSSIAN, CHINESE, ASCII, EMOJI)
      for name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")),
    ("\ufeff" + ASCII, "utf-16-be"),
    ("hi there", "utf-16-le"),
    ("é", "utf-16"),
]  # fmt: skip


def readers(folder):
    outputs = folder / "out" / "train.txt", folder / "out" / "valid.txt"
    return [
        *(lambda path, mode=mode: collect_files([str(path)], [], *outputs, documents=mode)
          for mode in ("separator", "file", "blank_line")),
        lambda path: copy_corpus(path, outputs[0]),
        scan,
    ]  # fmt: skip


def converted(data, message):
    """The result of the command that an error names, by Python's codecs."""
    (name,) = re.findall(r"iconv -f (\S+) -t UTF-8 old.txt > new.txt", message)
    return data.decode(name)


@pytest.mark.parametrize(("text", "encoding"), WIDE)
@pytest.mark.parametrize("odd", [False, True])
def test_utf16_and_utf32_are_named(tmp_path, text, encoding, odd):
    data = text.encode(encoding)
    path = tmp_path / "wide.txt"
    path.write_bytes(data + b"x" * odd)
    for read in readers(tmp_path):
        with pytest.raises(MinlmError, match=r"wide\.txt is not UTF-8: ") as error:
            read(path)
        assert converted(data, str(error.value)).removeprefix("\ufeff") == text.removeprefix("\ufeff")
        assert str(error.value).count("\n") == 0
    try:
        data.decode()
    except UnicodeDecodeError:
        with pytest.raises(MinlmError, match=r"wide\.txt is not UTF-8: .* --invalid_utf8 keep") as error:
            count_words([path], [])
        assert converted(data, str(error.value)).removeprefix("\ufeff") == text.removeprefix("\ufeff")


@pytest.mark.parametrize(("encoding", "name"), [("latin-1", "ISO-8859-1"), ("cp1252", "WINDOWS-1252")])
def test_one_byte_a_character(tmp_path, encoding, name):
    text = "A café.\n" * 5 + ("“It’s”\n" if encoding == "cp1252" else "")
    (tmp_path / "old.txt").write_bytes(b"ascii only " * 100_000 + text.encode(encoding))
    for read in [*readers(tmp_path), lambda path: count_words([path], [])]:
        with pytest.raises(MinlmError, match=f"byte 0xe9 at offset 1100005.* iconv -f {name} ") as error:
            read(tmp_path / "old.txt")
        assert converted(text.encode(encoding), str(error.value)) == text


@pytest.mark.parametrize("bad", [b"\xe2\x80", b"\xff"])
def test_a_few_broken_characters_among_good_ones(tmp_path, bad):
    """Converting such a text from Latin-1 would spoil all of it."""
    (tmp_path / "old.txt").write_bytes(RUSSIAN.encode() + bad + b" " + RUSSIAN.encode())
    for read in [*readers(tmp_path), lambda path: count_words([path], [])]:
        with pytest.raises(MinlmError, match=r"The rest is\. Drop the invalid bytes: iconv -c -f UTF-8 -t UTF-8 "):
            read(tmp_path / "old.txt")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_utf8_without_zero_bytes_is_recognized(text):
    data = text.encode()
    assert not wide_encoding(data, is_utf8=True)
    assert not wide_encoding(data)


@pytest.mark.parametrize("text", ["a\0b", "one record\0another one\0" * 50, "\0" * 5000, "text\0" * 3, "\0text" * 500])
def test_utf8_with_zero_bytes_is_recognized(text):
    assert not wide_encoding(text.encode()[:4096], is_utf8=True)


@pytest.mark.parametrize(("text", "encoding"), WIDE[:-2])
def test_a_book_in_utf16(text, encoding):
    assert decode(text.encode(encoding), "utf-8")[0] == text.removeprefix("\ufeff").replace("\r\n", "\n")


@pytest.mark.parametrize("charset", ["idna", "undefined", "hex", "zlib", "rot13", "a\0b", "", "punycode"])
def test_an_unknown_charset(charset):
    assert decode(b"caf\xe9", charset)[0]
