"""tokenizer.json, read by the `tokenizers` library: the same ids and texts as ours."""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import END
from tokenizers import Tokenizer

from minlm.errors import MinlmError
from minlm.export.tokenizer_json import write_tokenizer_json
from minlm.tokenization import BPETokenizer

SPACED = "<a b>é"  # a special token whose spelling differs from itself
# Libraries have different versions of Unicode; all of them know these characters.
old_characters = st.characters(exclude_categories=["Cs"]).filter(lambda c: unicodedata.ucd_3_2_0.category(c) != "Cn")
texts = st.lists(
    st.one_of(
        st.text(old_characters),
        st.sampled_from([END, SPACED, "<|endoftext", "'ll", " the", "\n\n  ", "\x85\t ", "'LL", "'ſ", "12345", ".\n"]),
    )
).map("".join)


def reread(tokenizer, tmp_path_factory) -> Tokenizer:
    path = tmp_path_factory.mktemp("huggingface") / "tokenizer.json"
    write_tokenizer_json(tokenizer, path)
    return Tokenizer.from_file(str(path))


@pytest.fixture(scope="module")
def trained_pair(bible_file, tmp_path_factory):
    tokenizer = BPETokenizer.train(bible_file, vocab_size=600, special_tokens=[END, SPACED])
    return tokenizer, reread(tokenizer, tmp_path_factory)


@pytest.fixture(scope="module", params=["published", "gpt2", "gpt4", "marks", r"\p{L}+|[\n.]+"])
def pair(request, bible_file, tmp_path_factory):
    if request.param == "published":
        tokenizer = request.getfixturevalue("gpt2")
    else:
        tokenizer = BPETokenizer.train(bible_file, 600, [END, SPACED], pattern=request.param)
    return tokenizer, reread(tokenizer, tmp_path_factory)


def test_the_same_ids_of_real_text(pair, bible):
    ours, theirs = pair
    ids = ours.encode(bible)
    assert theirs.encode(bible).ids == ids
    assert theirs.decode(ids, skip_special_tokens=False) == bible
    assert theirs.get_vocab_size() == len(ours.vocab)


def test_the_same_ids_of_any_text(pair):
    ours, theirs = pair

    @given(texts)
    @settings(max_examples=150)
    def check(text):
        ids = ours.encode(text)
        assert theirs.encode(text).ids == ids
        assert theirs.decode(ids, skip_special_tokens=False) == text

    check()


def test_bytes_that_are_not_utf8_decode_alike(trained_pair):
    ours, theirs = trained_pair
    for ids in ([0xFF, 0x41], [0xE8, 0xAA], [0xC3, 0x28, 0xA0]):
        assert theirs.decode(ids) == ours.decode(ids)


def test_special_tokens_are_marked(trained_pair):
    ours, theirs = trained_pair
    assert {(i, token.content, token.special) for i, token in theirs.get_added_tokens_decoder().items()} == {
        (256, END, True),
        (257, SPACED, True),
    }
    assert theirs.decode(ours.encode(f"a{END}b{SPACED}c")) == "abc"  # without special tokens, as is usual there


def test_the_file_is_readable_json(trained_pair, tmp_path):
    write_tokenizer_json(trained_pair[0], tmp_path / "tokenizer.json")
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert content["model"]["vocab"]["Ġ"] == 32
    assert content["model"]["vocab"][SPACED] == 257


def test_an_output_folder_that_is_a_file(trained_pair, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MinlmError, match=r"cannot write .*tokenizer\.json"):
        write_tokenizer_json(trained_pair[0], tmp_path / "file" / "tokenizer.json")
