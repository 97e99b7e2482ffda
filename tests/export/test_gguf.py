"""model.gguf, read by the package gguf; `pytest -m elsewhere` also lets llama.cpp write with it."""

import json
import os
import random
import sys
import unicodedata
from itertools import islice, takewhile

import jinja2
import numpy as np
import pytest
import torch
from ablations import ABLATIONS
from finished_model import CONTEXT, TEXT, flags
from gguf import GGUFReader, dequantize

from minlm.errors import MinlmError
from minlm.export import gguf as exporter
from minlm.generation.batched import Request, generate_batch
from minlm.scripts import export as export_script
from minlm.tokenization import BPETokenizer
from minlm.tokenization.chat import CHAT_TOKENS, encode_prompt
from minlm.transformer import TransformerLM

TYPES = ("F32", "F16", "Q8_0")
# llama.cpp's names of the weights of a block → ours
OURS = {
    "attn_norm": "ln1", "attn_q": "attn.q_proj", "attn_k": "attn.k_proj", "attn_v": "attn.v_proj",
    "attn_output": "attn.output_proj", "ffn_norm": "ln2",
    "ffn_gate": "ffn.w1", "ffn_down": "ffn.w2", "ffn_up": "ffn.w3",
}  # fmt: skip


@pytest.fixture(scope="module", params=TYPES)
def written(request, trained, tmp_path_factory):
    """The type of the numbers, and the folder with the export."""
    folder = tmp_path_factory.mktemp("gguf") / "export"
    export_script.main([*flags(trained, folder), "--format", "gguf", "--gguf_type", request.param])
    return request.param, folder


def our_name(name: str) -> str:
    if name.startswith("blk."):
        _, layer, part = name.removesuffix(".weight").split(".")
        return f"layers.{layer}.{OURS[part]}.weight"
    return {"token_embd": "token_embeddings", "output_norm": "ln_final", "output": "lm_head"}[name[:-7]] + ".weight"


def test_the_weights(ours, written):
    (model, tokenizer), (type, folder) = ours, written
    weights = {name: weight.numpy() for name, weight in model.state_dict().items()}
    tensors = GGUFReader(folder / "model.gguf").tensors
    assert sorted(our_name(tensor.name) for tensor in tensors) == sorted(weights)
    for tensor in tensors:
        weight = weights[our_name(tensor.name)]
        if tensor.name in ("token_embd.weight", "output.weight"):
            weight = weight[: len(tokenizer.vocab)]
        kind = tensor.tensor_type.name
        assert kind == ("F32" if weight.ndim == 1 else "F16" if "ffn_down" in tensor.name and type != "F32" else type)
        read = dequantize(tensor.data, tensor.tensor_type)
        assert read.shape == weight.shape
        # F16 has 11 bits; Q8_0 rounds to 1/127 of the largest of 32 numbers, with a scale in F16
        most = {"F32": 0.0, "F16": 2**-11, "Q8_0": 1 / 127}[kind]
        assert np.abs(read - weight).max() <= most * np.abs(weight).max()


def test_the_metadata(ours, written):
    (model, tokenizer), (_, folder) = ours, written
    fields = {name: field.contents() for name, field in GGUFReader(folder / "model.gguf").fields.items()}
    assert fields["general.architecture"] == "llama"
    assert {name.removeprefix("llama."): value for name, value in fields.items() if name.startswith("llama.")} == {
        "vocab_size": len(tokenizer.vocab), "context_length": CONTEXT, "embedding_length": 64, "block_count": 3,
        "feed_forward_length": 80, "attention.head_count": 4, "attention.head_count_kv": 4,
        "rope.dimension_count": 16, "rope.freq_base": 500.0,
        "attention.layer_norm_rms_epsilon": pytest.approx(model.ln_final.eps),
    }  # fmt: skip
    assert (fields["tokenizer.ggml.model"], fields["tokenizer.ggml.pre"]) == ("gpt2", "gpt-2")
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert fields["tokenizer.ggml.eos_token_id"] == fields["tokenizer.ggml.bos_token_id"] == 256
    assert (fields["tokenizer.ggml.tokens"][256], fields["tokenizer.ggml.token_type"][256]) == ("<|endoftext|>", 3)
    assert len(fields["tokenizer.ggml.tokens"]) == len(fields["tokenizer.ggml.token_type"]) == len(tokenizer.vocab)


def test_the_tokenizer_has_the_same_files(trained, ours, written):
    """Tokens and merges are spelled as in vocab.json and merges.txt, which other tests hold against other software."""
    fields = {name: field.contents() for name, field in GGUFReader(written[1] / "model.gguf").fields.items()}
    vocab = json.loads((trained / "vocab.json").read_text(encoding="utf-8"))
    assert {token: index for index, token in enumerate(fields["tokenizer.ggml.tokens"])} == vocab
    merges = (trained / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    assert fields["tokenizer.ggml.merges"] == merges


def test_ids_without_a_token(tmp_path):
    """GPT-2's and others' vocabularies may have gaps."""
    vocab = {index: bytes([index]) for index in range(256)} | {256: b"<|endoftext|>", 259: b"ab"}
    tokenizer = BPETokenizer(vocab, [(b"a", b"b")], ["<|endoftext|>"])
    exporter.export(tmp_path / "gap", TransformerLM(300, 8, 8, 1, 1, 8), tokenizer, "a gap")
    fields = {name: field.contents() for name, field in GGUFReader(tmp_path / "gap/model.gguf").fields.items()}
    assert fields["tokenizer.ggml.token_type"][255:] == [1, 3, 5, 5, 1]
    assert fields["tokenizer.ggml.tokens"][259] == "ab"


def test_a_model_that_can_chat(tmp_path):
    """The template writes what transformers' does, without transformers' own marks."""
    vocab = {index: bytes([index]) for index in range(256)}
    tokenizer = BPETokenizer(vocab, [], ["<|endoftext|>", *CHAT_TOKENS])
    exporter.export(tmp_path / "chat", TransformerLM(300, 8, 8, 1, 1, 8), tokenizer, "a chat")
    fields = {name: field.contents() for name, field in GGUFReader(tmp_path / "chat/model.gguf").fields.items()}
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    text = jinja2.Template(fields["tokenizer.chat_template"]).render(messages=messages, add_generation_prompt=True)
    assert tokenizer.encode(text) == encode_prompt(tokenizer, messages)
    assert fields["tokenizer.ggml.tokens"][fields["tokenizer.ggml.eot_token_id"]] == "<|end|>"
    assert fields["tokenizer.ggml.token_type"][256:] == [3] * 5


def test_the_modelfile(written):
    lines = (written[1] / "Modelfile").read_text(encoding="utf-8").splitlines()
    assert lines[:3] == ["FROM ./model.gguf", "TEMPLATE {{ .Prompt }}", f"PARAMETER num_ctx {CONTEXT}"]
    assert sorted(os.listdir(written[1])) == sorted(exporter.FILES)


def test_what_cannot_be_exported(trained, ours, tmp_path, monkeypatch, capfd):
    with pytest.raises(MinlmError, match=f"{ABLATIONS[0]}, which cannot be exported"):
        exporter.export(tmp_path / "a", TransformerLM(380, 8, 8, 1, 2, 8, **{ABLATIONS[0]: True}), ours[1], "")
    monkeypatch.setattr(exporter, "PRE_TOKENIZERS", {})
    with pytest.raises(MinlmError, match="pattern gpt2, which llama"):
        exporter.export(tmp_path / "a", *ours, "")
    assert os.listdir(tmp_path) == []
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(SystemExit):
        export_script.main([*flags(trained, tmp_path / "a"), "--format", "gguf"])
    assert "pip install 'minlm[gguf]'" in capfd.readouterr().err


# --- llama.cpp itself -------------------------------------------------------------------------------------------------


@pytest.fixture
def llama(written):
    llama_cpp = pytest.importorskip("llama_cpp", reason="needs llama-cpp-python, which compiles for half an hour")
    settings = {"n_ctx": CONTEXT, "logits_all": True, "n_threads": 1, "verbose": False}
    exact = {"type_k": 0, "type_v": 0}  # a cache in F32 instead of F16
    return llama_cpp.Llama(str(written[1] / "model.gguf"), **settings, **exact)


def hard_texts() -> list[str]:
    """Words, white space and characters of Unicode 3.2, which all versions of its tables know."""
    characters = [c for c in map(chr, range(1, 0x30000)) if unicodedata.ucd_3_2_0.category(c) not in ("Cn", "Cs")]
    pieces = [
        "'ll",
        "'LL",
        " the",
        "<|endoftext|>",
        "<|endoftext",
        "\n\n  ",
        "\x85\t ",
        "\u3000",
        "  ",
        "12 345",
        "é",
        "e\u0301",
    ]
    generator = random.Random(0)
    return [
        "".join(generator.choice(pieces if generator.random() < 0.5 else characters) for _ in range(60))
        for _ in range(500)
    ]


@pytest.mark.elsewhere
def test_llama_cpp_has_the_same_ids(ours, llama):
    for text in [TEXT, *hard_texts()]:
        ids = ours[1].encode(text)
        assert llama.tokenize(text.encode(), add_bos=False, special=True) == ids
        assert llama.detokenize(ids, special=True) == text.encode()


@pytest.mark.elsewhere
def test_llama_cpp_has_the_same_logits_and_greedy_texts(ours, written, llama):
    """Of Q8_0 only the logits, and these roughly: llama.cpp rounds the activations too, and random weights are not
    robust.
    """
    (model, tokenizer), (type, _) = ours, written
    size, worst, same = len(tokenizer.vocab), 0.0, 0
    prompts = [tokenizer.encode(word) for word in TEXT.split()[:40]]
    texts = generate_batch(model, [Request(prompt, 0.0) for prompt in prompts], CONTEXT - 10, 256, size)
    for prompt, text in zip(prompts, map(torch.Tensor.tolist, texts), strict=True):
        llama.reset()
        llama.eval(text)
        with torch.inference_mode():
            expected = model(torch.tensor([text]))[0, :, :size].numpy()
        worst = max(worst, np.abs(llama.scores[: len(text)] - expected).max() / expected.std())
        made = islice(llama.generate(prompt, temp=0.0), CONTEXT - 10)
        same += list(takewhile(lambda token: token != 256, made)) == text[len(prompt) :]
    print(f"{type}: largest difference {worst:.1e} of the logits' standard deviation, {same} of {len(prompts)} texts")
    assert worst < {"F32": 1e-4, "F16": 1e-2, "Q8_0": 0.3}[type]
    assert same >= {"F32": 40, "F16": 38, "Q8_0": 0}[type]
