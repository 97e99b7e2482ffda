import json

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from published import END

from minlm.errors import MinlmError
from minlm.tokenization import BPETokenizer
from minlm.tokenization.vocabulary_files import spell, unspell


@given(st.binary())
def test_every_byte_can_be_spelled(token):
    assert unspell(spell(token)) == token
    assert spell(token).isprintable()
    assert " " not in spell(token)


def test_spelling_is_that_of_hugging_face():
    split = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
    for text in map(chr, [*range(0x180), 0x4E2D, 0x1F600]):
        assert spell(text.encode()) == split(text)[0][0]
    assert {spell(bytes([byte])) for byte in range(256)} == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def test_files_survive_the_round_trip(trained, trained_files, tmp_path):
    loaded = BPETokenizer.from_files(*trained_files, special_tokens=[END])
    assert loaded.vocab == trained.vocab
    assert loaded.merges == trained.merges
    assert loaded.fingerprint == trained.fingerprint
    loaded.save(tmp_path / "v", tmp_path / "m")
    assert (tmp_path / "v").read_bytes() == trained_files[0].read_bytes()
    assert (tmp_path / "m").read_bytes() == trained_files[1].read_bytes()


def test_tokens_with_odd_bytes_survive(tmp_path):
    merges = [(b" ", b" "), (b"#", b"version"[:1]), (b"\n", b"\xff"), (b"\x85", b"\xad"), (b"  ", b"\n\xff")]
    vocab = {i: bytes([255 - i]) for i in range(256)} | {300 + i: a + b for i, (a, b) in enumerate(merges)}
    tokenizer = BPETokenizer(vocab, merges, ["<two words>", "<é>"])
    tokenizer.save(tmp_path / "v", tmp_path / "m")
    loaded = BPETokenizer.from_files(tmp_path / "v", tmp_path / "m", ["<two words>", "<é>"])
    assert (loaded.vocab, loaded.merges) == (tokenizer.vocab, tokenizer.merges)


def test_hugging_face_loads_the_files(trained, trained_files, bible):
    model = tokenizers.models.BPE.from_file(*map(str, trained_files))
    other = tokenizers.Tokenizer(model)
    other.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    other.decoder = tokenizers.decoders.ByteLevel()
    other.add_special_tokens([END])
    for text in (bible, "Größe 中文 😀\u3000  it's\t\n\n x²" + END):
        assert other.encode(text).ids == trained.encode(text)
        assert other.decode(trained.encode(text), skip_special_tokens=False) == text


def test_gpt2_files_are_kept(gpt2, gpt2_files, tmp_path):
    gpt2.save(tmp_path / "v", tmp_path / "m")
    assert json.loads((tmp_path / "v").read_text("utf-8")) == json.loads(gpt2_files[0].read_text("utf-8"))
    assert (tmp_path / "m").read_bytes() == gpt2_files[1].read_bytes()


def test_fingerprint_is_of_the_content_not_of_the_file(trained, trained_files, tmp_path):
    vocab = json.loads(trained_files[0].read_text("utf-8"))
    (tmp_path / "v").write_text(json.dumps(dict(reversed(vocab.items())), indent=8), "utf-8")
    merges = trained_files[1].read_text("utf-8")
    (tmp_path / "m").write_text(merges.removeprefix("#version: 0.2\n").removesuffix("\n"), "utf-8")
    assert BPETokenizer.from_files(tmp_path / "v", tmp_path / "m", [END]).fingerprint == trained.fingerprint
    other = BPETokenizer({**trained.vocab, 1000: b"<x>"}, trained.merges)
    assert len(other.fingerprint) == 64
    assert other.fingerprint != trained.fingerprint


@pytest.mark.parametrize("pattern", ["gpt4", r"\w+|\s"])
def test_pattern_and_special_tokens_travel_with_the_files(bible_file, tmp_path, pattern):
    tokens = [END, "<|user|>", "<é ü>"]
    trained = BPETokenizer.train(bible_file, 300, tokens, pattern=pattern)
    trained.save(tmp_path / "v", tmp_path / "m")
    loaded = BPETokenizer.from_files(tmp_path / "v", tmp_path / "m")
    assert (loaded.pattern, loaded.special_tokens) == (pattern, tokens)
    assert loaded.encode("<|user|>I'LL 12345<é ü>") == trained.encode("<|user|>I'LL 12345<é ü>")
    assert loaded.fingerprint == trained.fingerprint != BPETokenizer(trained.vocab, trained.merges, tokens).fingerprint
    model = tokenizers.models.BPE.from_file(str(tmp_path / "v"), str(tmp_path / "m"))  # skips the first line
    assert tokenizers.Tokenizer(model).get_vocab_size() == 300


@pytest.mark.parametrize(
    "header", ['{"pattern": 1}', '{"special_tokens": "ab"}', '{"special_tokens": [1]}', '{"a": 1}', "{"]
)
def test_bad_header_of_merges(copied, header):
    copied[1].write_text(f"#version: 0.2 {header}\n" + copied[1].read_text("utf-8").partition("\n")[2], "utf-8")
    with pytest.raises(MinlmError, match=r"merges.txt is not a list of merges with a pattern .* or is damaged"):
        load(copied)


def test_a_pattern_in_the_files_that_is_none(copied):
    copied[1].write_text('#version: 0.2 {"pattern": "("}\n' + copied[1].read_text("utf-8").partition("\n")[2], "utf-8")
    with pytest.raises(MinlmError, match=r"merges.txt: the pattern .* is none of gpt2"):
        load(copied)


def test_a_special_token_that_is_new_is_announced(trained_files, caplog):
    tokenizer = BPETokenizer.from_files(*trained_files, [END, "<x>"])
    assert tokenizer.encode("<x>") == [1000]
    assert "special token <x> is not in" in caplog.text
    assert "new id 1000" in caplog.text


@pytest.fixture
def copied(trained_files, tmp_path):
    paths = tmp_path / "vocab.json", tmp_path / "merges.txt"
    for source, path in zip(trained_files, paths, strict=True):
        path.write_bytes(source.read_bytes())
    return paths


def load(copied) -> BPETokenizer:
    return BPETokenizer.from_files(*copied, [END])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a vocabulary, or is damaged"),
        (b'{"a": 1, ', "is damaged .*char 9"),
        (b'["a"]', "is not a vocabulary"),
        (b'{"a": "1"}', "the id of token 'a' is '1'"),
        (b'{"a": 1.0}', "the id of token 'a' is 1.0"),
        (b'{"a": true}', "the id of token 'a' is True"),
        (b'{"a": -1}', "the id of token 'a' is -1"),
        (b'{"a": 1, "b": 1}', "'a' and 'b' have the same id 1"),
        (b'{"a b": 1}', "'a b' has the character ' ', which spells no byte"),
        (b'{"a": 1}', "lacks the byte 0x00"),
        (b'{"\xff": 1}', "is not UTF-8 at offset 2"),
    ],
)
def test_bad_vocab(copied, content, message):
    copied[0].write_bytes(content)
    with pytest.raises(MinlmError, match=message) as error:
        load(copied)
    assert str(copied[0]) in str(error.value)


@pytest.mark.parametrize("line", ["ab", "a b c", " a b", "a ", "", "a 中", "a\tb"])
def test_bad_line_in_merges(copied, line):
    lines = copied[1].read_text("utf-8").split("\n")
    lines[3] = line
    copied[1].write_text("\n".join(lines), "utf-8")
    with pytest.raises(MinlmError, match=r"merges.txt, line 4: .* is not two tokens with a space between"):
        load(copied)


def test_merges_that_are_not_utf8(copied):
    copied[1].write_bytes(b"a b\n\xff c\n")
    with pytest.raises(MinlmError, match=r"merges.txt is not .* or is damaged .it is not UTF-8 at offset 4"):
        load(copied)


def test_merges_cut_short(copied):
    copied[1].write_text("\n".join(copied[1].read_text("utf-8").split("\n")[:500]) + "\n", "utf-8")
    with pytest.raises(MinlmError, match="do not fit each other: no merge makes"):
        load(copied)


def test_no_merges_at_all(copied):
    copied[1].write_bytes(b"")
    with pytest.raises(MinlmError, match="do not fit each other: no merge makes"):
        load(copied)


def test_merges_of_another_vocabulary(copied, gpt2_files):
    with pytest.raises(MinlmError, match=r"do not fit each other: merge .* needs"):
        BPETokenizer.from_files(copied[0], gpt2_files[1])


@pytest.mark.parametrize("missing", [0, 1])
def test_missing_files(copied, missing):
    copied[missing].unlink()
    with pytest.raises(MinlmError, match=f"{copied[missing]}: there is no such file"):
        load(copied)


def test_save_into_a_folder_that_cannot_be(trained, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MinlmError, match=r"cannot write .*vocab.json"):
        trained.save(tmp_path / "file" / "vocab.json", tmp_path / "merges.txt")
    assert not (tmp_path / "merges.txt").exists()
