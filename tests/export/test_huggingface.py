"""Exported models, loaded by transformers: the same logits, texts and ids."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import exported_model
import pytest
import torch
from ablations import ABLATIONS
from finished_model import CONTEXT, TEXT, VOCAB_SIZE, flags
from transformers import AutoModelForCausalLM, AutoTokenizer

from minlm.atomic import atomic_folder
from minlm.errors import MinlmError
from minlm.export.huggingface import FILES, export
from minlm.export.model_card import FIGURES
from minlm.generation.batched import Request, generate_batch
from minlm.scripts import export as export_script
from minlm.tokenization import BPETokenizer
from minlm.tokenization.chat import CHAT_TOKENS, encode_chat
from minlm.training.evaluation import read_evaluation
from minlm.transformer import TransformerLM
from minlm.transformer.checkpoint import save_model


@pytest.fixture(scope="module")
def exported(trained):
    output = trained / "export"
    evaluation = ["--evaluation", str(trained / "evaluation.json"), "--corpus_source", "sample"]
    export_script.main([*flags(trained, output), *evaluation])
    return output


@pytest.fixture(scope="module")
def theirs(exported):
    return AutoModelForCausalLM.from_pretrained(exported), AutoTokenizer.from_pretrained(exported)


def test_the_folder_is_complete(exported):
    assert sorted(os.listdir(exported)) == sorted(FILES)
    assert not [name for name in os.listdir(exported.parent) if name.endswith(".tmp")]


def test_the_same_logits(ours, theirs):
    assert type(theirs[0]).__name__ == "LlamaForCausalLM"
    ids = torch.randint(VOCAB_SIZE, (4, CONTEXT), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        difference = (ours[0](ids) - theirs[0](ids).logits).abs().max()
    assert difference < 1e-4


@pytest.mark.parametrize("prompt", ["In the", "<|endoftext|>", "And God said, Let there be"])
def test_the_same_greedy_text(ours, theirs, prompt):
    model, tokenizer = ours
    llama, their_tokenizer = theirs
    inputs = their_tokenizer(prompt, return_tensors="pt")
    theirs_ids = llama.generate(**inputs, do_sample=False, max_new_tokens=15)[0].tolist()
    (ours_ids,) = generate_batch(model, [Request(tokenizer.encode(prompt), 0.0)], 15, 256, len(tokenizer.vocab))
    assert theirs_ids == ours_ids.tolist()
    assert their_tokenizer.decode(theirs_ids) == tokenizer.decode(ours_ids.tolist())


def test_its_own_generation_settings(theirs):
    """Sampling by generation_config.json never draws ids that the tokenizer lacks, and stops at the end of a text."""
    llama, tokenizer = theirs
    assert llama.generation_config.eos_token_id == tokenizer.eos_token_id == 256
    torch.manual_seed(0)
    inputs = tokenizer(["In the"] * 8, return_tensors="pt")
    texts = llama.generate(**inputs, max_new_tokens=20, temperature=5.0, top_p=1.0, top_k=0)
    assert int(texts.max()) < len(tokenizer)


def test_the_same_ids(ours, theirs):
    assert theirs[1](TEXT)["input_ids"] == ours[1].encode(TEXT)
    assert theirs[1].decode(theirs[1](TEXT)["input_ids"]) == TEXT


@pytest.fixture(scope="module")
def expected(ours):
    """Three prompts, the last of which ends early, and their greedy texts."""
    model, tokenizer = ours
    words = [word for word in dict.fromkeys(TEXT.split()) if word.isalpha()][:200]
    prompts = [tokenizer.encode(word) for word in words]
    requests = [Request(prompt, 0.0) for prompt in prompts]
    batch = generate_batch(model, requests, exported_model.NEW_TOKENS, 256, len(tokenizer.vocab))
    full = [len(made) == len(prompt) + exported_model.NEW_TOKENS for made, prompt in zip(batch, prompts, strict=True)]
    lengths = [len(prompt) if is_full else 0 for prompt, is_full in zip(prompts, full, strict=True)]
    chosen = [lengths.index(1), lengths.index(max(lengths)), full.index(False)]
    return [words[i] for i in chosen], [tokenizer.decode(batch[i].tolist()) for i in chosen]


def check_documented_calls(made: dict, texts: list[str]) -> None:
    assert made["inputs"] == ["attention_mask", "input_ids"]
    assert made["ends"] == [False, False, True]
    assert made["singles"] == made["batch"] == made["pipeline"] == texts
    assert made["streamed"] == texts[0]
    assert max(made["sampled_tokens"]) <= CONTEXT
    assert made["warnings"] == []


def test_documented_calls(exported, expected):
    prompts, texts = expected
    check_documented_calls(exported_model.results(str(exported), prompts), texts)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["4.50.0", "4.57.3"])
def test_documented_calls_in_older_versions(exported, expected, tmp_path, version):
    """In an environment of its own, with the torch of this one, because its version does not matter."""
    prompts, texts = expected
    python = tmp_path / "bin/python"
    install = [python, "-m", "pip", "install", "--quiet", f"transformers=={version}"]
    for command in ([sys.executable, "-m", "venv", tmp_path], install):
        subprocess.run(command, check=True, timeout=600)
    [packages] = tmp_path.glob("lib/python*/site-packages")
    (packages / "torch.pth").write_text(sysconfig.get_path("purelib"))
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    program = [python, Path(exported_model.__file__), exported, *prompts]
    done = subprocess.run(program, env=variables, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300)
    check_documented_calls(json.loads(done.stdout), texts)


def test_the_model_card(exported):
    card = (exported / "README.md").read_text(encoding="utf-8")
    for part in (
        "Trained from scratch on the Bible in Basic English.", "1.5000 nats per token (perplexity 4.48), 1.2500 bits",
        "| d_model | 64 |", "| steps | 1,234 |", "| lr_max | 0.001 |", "public domain",
    ):  # fmt: skip
        assert part in card


def test_an_earlier_export_is_replaced_and_the_bytes_repeat(trained, exported, tmp_path):
    for _ in range(2):
        export_script.main(flags(trained, tmp_path / "again"))
        weights = (tmp_path / "again" / "model.safetensors").read_bytes()
        assert weights == (exported / "model.safetensors").read_bytes()
        (tmp_path / "again" / "config.json").write_text("changed")
    assert sorted(os.listdir(tmp_path)) == ["again"]


@pytest.mark.parametrize("name", ABLATIONS)
def test_what_llama_cannot_express(trained, ours, tmp_path, name, capfd):
    model = TransformerLM(380, 8, 8, 1, 2, 8, **{name: True})
    save_model(tmp_path / "model.pt", model, iteration=0, tokenizer=None, training={})
    arguments = flags(trained, tmp_path / "export")
    arguments[1] = str(tmp_path / "model.pt")
    with pytest.raises(SystemExit):
        export_script.main(arguments)
    assert f"trained with {name}, which cannot be exported" in capfd.readouterr().err
    assert os.listdir(tmp_path) == ["model.pt"]


def test_a_folder_with_other_files_is_not_touched(ours, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(MinlmError, match=r"the folder also contains thesis\.tex"):
        export(tmp_path, *ours, "card")
    with pytest.raises(MinlmError, match="not a folder"):
        export(tmp_path / "thesis.tex", *ours, "card")
    with pytest.raises(MinlmError, match="cannot write"):
        export(tmp_path / "thesis.tex" / "export", *ours, "card")
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("failing", ["fsync", "second rename"])
def test_a_full_disk_keeps_the_earlier_export(ours, exported, tmp_path, monkeypatch, failing):
    failures = []

    def fail(*paths):
        if failing == "fsync" or (paths[1].name == "export" and not failures):
            failures.append(paths)
            raise OSError(28, "No space left on device")
        real_replace(*paths)

    real_replace = os.replace
    with atomic_folder(tmp_path / "export", FILES) as folder:
        (folder / "config.json").write_text("earlier")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync" if failing == "fsync" else "replace", fail)
        with pytest.raises(MinlmError, match=r"cannot write .*export: No space left on device"):
            export(tmp_path / "export", *ours, "card")
    assert os.listdir(tmp_path / "export") == ["config.json"]
    assert os.listdir(tmp_path) == ["export"]


@pytest.mark.parametrize("content", [None, "{", "[]", '{"nats_per_token": 1}', b"\xff"])
def test_damaged_evaluations(tmp_path, content):
    path = tmp_path / "evaluation.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(MinlmError, match=r"evaluation\.json.*minlm\.scripts\.evaluate"):
        read_evaluation(path, FIGURES)


def test_the_chat_template(trained, tmp_path):
    tokenizer = BPETokenizer.train(trained / "text.txt", 380, ["<|endoftext|>", *CHAT_TOKENS], pattern="gpt4")
    export(tmp_path / "chat", TransformerLM(VOCAB_SIZE, CONTEXT, 48, 1, 4, 64), tokenizer, "a card")
    messages = [{"role": "user", "content": "Who\n\n12345?"}, {"role": "assistant", "content": "I'LL say."}]
    theirs = AutoTokenizer.from_pretrained(tmp_path / "chat")
    made = theirs.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    assert (made["input_ids"], made["assistant_masks"]) == encode_chat(tokenizer, messages)
    config = json.loads((tmp_path / "chat/generation_config.json").read_text())
    assert [tokenizer.vocab[index] for index in config["eos_token_id"]] == [b"<|endoftext|>", b"<|end|>"]
