import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minlm.documents import SEPARATOR, iter_documents, iter_texts, read_blocks, trim, write_document
from minlm.errors import MinlmError

TEXT = st.text(st.sampled_from("ab é\u4e2d\n<|>"), max_size=60)


@given(TEXT, st.integers(1, 20))
def test_blocks_are_the_file_and_split_no_character(text, size):
    data = text.encode()
    blocks = list(read_blocks(io.BytesIO(data), "x", size))
    assert b"".join(block for _, block in blocks) == data
    for offset, block in blocks:
        assert data[offset : offset + len(block)] == block
        assert block.decode()
    assert all(block[-1:] in b" \n" for _, block in blocks[:-1])


@given(st.lists(TEXT, min_size=1), st.integers(1, 20))
def test_texts_are_those_of_split(texts, size):
    joined = SEPARATOR.join(text.replace("<", "") for text in texts)
    file = io.BytesIO(joined.encode())
    read = file.read
    file.read = lambda _: read(size)
    assert list(iter_texts(file, "x")) == joined.split(SEPARATOR)


@given(st.lists(TEXT))
def test_written_documents_are_read_again(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("documents") / "corpus.txt"
    documents = [trim(text.replace("<", "")) for text in texts]
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        for document in documents:
            write_document(out, document)
    assert list(iter_documents(path)) == [document for document in documents if document]


def test_trim():
    assert trim("\r\n \n  indented\r\n\r\nlast  \n\n") == "  indented\n\nlast  "
    assert trim(" \n\t\n") == ""


@pytest.mark.parametrize("offset", [0, 7, 5_000_000])
def test_byte_that_is_not_utf8_is_named(tmp_path, offset):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"a word " * (offset // 7) + b" " * (offset % 7) + b"caf\xe9"[3:] + b" more text")
    with pytest.raises(MinlmError, match=rf"latin\.txt is not UTF-8: byte 0xe9 at offset {offset}\."):
        list(iter_documents(path))


def test_cut_character_at_the_end_of_the_file(tmp_path):
    path = tmp_path / "cut.txt"
    path.write_bytes("word é".encode()[:-1])
    with pytest.raises(MinlmError, match="offset 5"):
        list(iter_documents(path))


def test_byte_order_mark_is_left_out(tmp_path):
    path = tmp_path / "bom.txt"
    path.write_bytes(b"\xef\xbb\xbftext\xff")
    with pytest.raises(MinlmError, match="offset 7"):
        list(iter_documents(path))
    path.write_bytes(b"\xef\xbb\xbftext")
    assert list(iter_documents(path)) == ["text"]
