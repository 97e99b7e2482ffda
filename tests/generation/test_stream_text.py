"""A streamed text is the text that `generate_samples` gives, and no character appears before it is complete."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minlm.errors import MinlmError
from minlm.generation.batched import StreamedToken
from minlm.generation.samples_file import Setting, generate_samples
from minlm.generation.stream_text import decode_stream, stream_text
from minlm.tokenization import BPETokenizer
from minlm.transformer import TransformerLM

SETTING = Setting(1.0, 0.95, 200)
# "the" in two merges; the first two bytes of "語" (e8 aa 9e) and the last with a space, so that tokens cut characters
MERGES = [(b"t", b"h"), (b"th", b"e"), (b"\xe8", b"\xaa"), (b"\x9e", b"t")]


def make_tokenizer() -> BPETokenizer:
    vocab = {byte: bytes([byte]) for byte in range(256)} | {256: b"<|endoftext|>"}
    vocab |= {257 + index: first + second for index, (first, second) in enumerate(MERGES)}
    return BPETokenizer(vocab, MERGES, ["<|endoftext|>"])


def pieces_of(ids):
    return list(decode_stream(iter([StreamedToken(index, 0.5, []) for index in ids]), make_tokenizer()))


def test_a_stream_is_the_text_of_generate_samples():
    torch.manual_seed(0)
    model, tokenizer = TransformerLM(400, 16, 16, 1, 2, 24), make_tokenizer()
    for seed, prompt in enumerate(["", "the", "語 the é"]):  # an untrained model writes any bytes
        (sample,) = generate_samples(model, tokenizer, [prompt], [SETTING], 60, seed)
        pieces = list(stream_text(model, tokenizer, prompt, SETTING, 60, seed, num_alternatives=2))
        assert prompt + "".join(piece.text for piece in pieces) == sample.text
        tokens = [piece.token for piece in pieces if piece.token is not None]
        assert len(tokens) == sample.new_tokens
        assert all(len(token.alternatives) == 2 for token in tokens)


def test_characters_appear_when_they_are_complete():
    assert [piece.text for piece in pieces_of(make_tokenizer().encode("a語é the"))] == [
        "a",
        "",
        "語",
        "",
        "é",
        " ",
        "the",
    ]
    assert [piece.text for piece in pieces_of([259, 260])] == ["", "語t"]


def test_a_character_that_is_never_completed():
    *pieces, last = pieces_of([ord("a"), 259])
    assert [piece.text for piece in pieces] == ["a", ""]
    assert (last.text, last.token) == ("\ufffd", None)


@given(st.lists(st.integers(0, 260), max_size=30))
def test_any_tokens_are_decoded(ids):
    pieces = pieces_of(ids)
    assert "".join(piece.text for piece in pieces) == make_tokenizer().decode(ids)
    assert [piece.token.token for piece in pieces if piece.token] == ids


def test_a_bad_setting_is_refused_at_the_call():
    with pytest.raises(MinlmError, match="top_p must be"):
        stream_text(TransformerLM(261, 16, 16, 1, 2, 24), make_tokenizer(), "a", Setting(1.0, 2.0), 1, 0)
