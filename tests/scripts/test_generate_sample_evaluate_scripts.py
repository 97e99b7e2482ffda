"""The programs generate, sample and evaluate from their command lines."""

import io
import json
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from minlm.scripts import evaluate, export, generate, sample, serve
from minlm.tokenization import BPETokenizer
from minlm.transformer import TransformerLM
from minlm.transformer.checkpoint import save_model

TEXT = "In the beginning God made the heaven and the earth.\n<|endoftext|>\nthe end of the text\n" * 5


@dataclass
class Trained:
    """What training leaves behind."""

    folder: Path
    tokenizer: BPETokenizer
    checkpoint: Path

    @property
    def flags(self) -> list[str]:
        vocab, merges = self.folder / "vocab.json", self.folder / "merges.txt"
        return ["--checkpoint", str(self.checkpoint), "--vocab_path", str(vocab), "--merges_path", str(merges)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text(TEXT)
    tokenizer = BPETokenizer.train(folder / "text.txt", 270, ["<|endoftext|>"])
    tokenizer.save(folder / "vocab.json", folder / "merges.txt")
    np.save(folder / "valid.npy", np.array(tokenizer.encode(TEXT), dtype=np.uint16))
    torch.manual_seed(0)
    model = TransformerLM(270, 16, 16, 1, 2, 24)
    save_model(folder / "model.pt", model, iteration=1234, tokenizer=tokenizer.fingerprint, training={})
    return Trained(folder, tokenizer, folder / "model.pt")


def fails(capfd, main, flags) -> str:
    """Run a program that must fail; return its one line of error."""
    with pytest.raises(SystemExit) as stop:
        main(flags)
    assert stop.value.code == 1
    output, errors = capfd.readouterr()
    assert output == ""
    lines = [line for line in errors.splitlines() if "error" in line]
    assert len(lines) == 1
    assert "Traceback" not in errors
    return lines[0]


def test_generate_prints_the_text_and_nothing_else(trained, capfd):
    flags = [*trained.flags, "--prompt", "the", "--max_tokens", "12", "--seed", "3", "--device", "cpu"]
    generate.main(flags)
    output, errors = capfd.readouterr()
    assert output.startswith("the")
    assert "--seed 3 writes the same again" in errors
    generate.main(flags)
    assert capfd.readouterr().out == output


def test_generate_several_samples(trained, capfd):
    flags = [*trained.flags, "--max_tokens", "5", "--temperature", "0.9", "--top_p", "0.9", "--seed"]
    generate.main([*flags, "0", "--num_samples", "2"])
    both = capfd.readouterr().out
    singles = []
    for seed in ("0", "1"):
        generate.main([*flags, seed])
        singles.append(capfd.readouterr().out)
    assert both == singles[0] + "\n" + singles[1]


class Terminal(io.StringIO):
    """Remembers what was to be seen at each flush."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def isatty(self):
        return True

    def flush(self):
        self.seen.append(self.getvalue())


@pytest.mark.parametrize("more", [[], ["--num_samples", "3", "--temperature", "0.9", "--top_p", "0.9", "--top_k", "9"]])
def test_at_a_terminal_the_same_text_appears_as_it_comes(trained, capfd, monkeypatch, more):
    flags = [*trained.flags, "--prompt", "é", "--max_tokens", "30", "--seed", "3", *more]
    generate.main(flags)
    output = capfd.readouterr().out
    monkeypatch.setattr(sys, "stdout", Terminal())
    generate.main(flags)
    assert sys.stdout.getvalue() == output
    steps = list(dict.fromkeys(sys.stdout.seen))
    assert len(steps) > 10
    assert all(after.startswith(before) for before, after in pairwise(steps))
    assert "--seed 3 writes the same again" in capfd.readouterr().err


def test_an_interrupted_text_ends_its_line(trained, capfd, monkeypatch):
    class Interrupted(Terminal):
        def flush(self):
            super().flush()
            if len(self.seen) == 5:
                raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdout", Interrupted())
    with pytest.raises(SystemExit) as stop:
        generate.main([*trained.flags, "--max_tokens", "30", "--seed", "3"])
    assert stop.value.code == 130
    assert sys.stdout.getvalue().endswith("\n")
    assert capfd.readouterr().err == "nlm-generate: interrupted\n"


def test_generate_without_a_seed_names_one(trained, capfd):
    generate.main([*trained.flags, "--max_tokens", "5"])
    output, errors = capfd.readouterr()
    seed = errors.split("--seed ")[1].split()[0]
    generate.main([*trained.flags, "--max_tokens", "5", "--seed", seed])
    assert capfd.readouterr().out == output


def test_generate_with_a_prompt_longer_than_the_context(trained, capfd):
    prompt = "the end of the text " * 20
    generate.main([*trained.flags, "--prompt", prompt, "--max_tokens", "3"])
    output, errors = capfd.readouterr()
    assert output.startswith(prompt)
    length = len(trained.tokenizer.encode(prompt))
    cut = f'The prompt "the end of the text the end of…" has {length} tokens. The model reads only the last 16 of them'
    assert cut in errors
    settings = ["--settings", "0:none", "--max_new_tokens", "3", "--output", str(trained.folder / "long.txt")]
    sample.main([*trained.flags, "--prompts", prompt, "the", *settings])
    assert capfd.readouterr().err.count("The model reads only the last 16 of them") == 1


def test_at_temperature_0_no_seed_is_named(trained, capfd):
    generate.main([*trained.flags, "--temperature", "0", "--max_tokens", "3"])
    assert "seed" not in capfd.readouterr().err


def test_zero_tokens_and_zero_samples_are_refused_alike(trained, capfd):
    messages = []
    for flag in ("--max_tokens", "--num_samples"):
        with pytest.raises(SystemExit, match="2"):
            generate.main([*trained.flags, flag, "0"])
        messages.append(capfd.readouterr().err.replace(flag, "FLAG"))
    assert messages[0] == messages[1]
    assert "argument FLAG: must be a whole number" in messages[0]


def test_sample_writes_the_same_file_again(trained, tmp_path, capfd):
    flags = [*trained.flags, "--prompts", "the", "", "--settings", "0.7:0.9", "1.0:none", "--max_new_tokens", "9"]
    for name in ("a.txt", "b.txt"):
        sample.main([*flags, "--threads", "1", "--output", str(tmp_path / name)])
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()
    text = (tmp_path / "a.txt").read_text(encoding="utf-8")
    assert text.startswith("Samples of the model after 1,234 training steps\n")
    assert text.count('prompt: "the"\n') == text.count('prompt: ""\n') == 2
    assert "temperature 1.0, top_p none, seed 3" in text
    assert "4 texts" in capfd.readouterr().err


def test_a_sample_can_be_made_again_with_generate(trained, tmp_path, capfd):
    flags = ["--prompts", "the", "end", "--settings", "0.7:0.9", "1.0:none", "--max_new_tokens", "9", "--seed", "5"]
    sample.main([*trained.flags, *flags, "--output", str(tmp_path / "samples.txt")])
    flags = ["--prompt", "end", "--temperature", "0.7", "--top_p", "0.9", "--max_tokens", "9", "--seed", "7"]
    capfd.readouterr()
    generate.main([*trained.flags, *flags])
    assert capfd.readouterr().out.strip("\n") in (tmp_path / "samples.txt").read_text(encoding="utf-8")


def test_evaluate_writes_json(trained, tmp_path, capfd):
    flags = ["--tokens", str(trained.folder / "valid.npy"), "--text", str(trained.folder / "text.txt")]
    evaluate.main([*trained.flags, *flags, "--output", str(tmp_path / "evaluation.json"), "--device", "cpu"])
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert result["bytes"] == len(TEXT.replace("<|endoftext|>", "")) - len(
        trained.tokenizer.vocab[result_first(trained)]
    )
    assert result["tokens"] == len(trained.tokenizer.encode(TEXT)) - 1
    assert result["iteration"] == 1234
    assert set(result["baseline"]) == {"lzma_bits_per_byte", "bz2_bits_per_byte"}
    assert f"{result['bits_per_byte']:.3f} bits/byte" in capfd.readouterr().err


def result_first(trained) -> int:
    """The id of the first token, the only one that is not predicted."""
    return trained.tokenizer.encode(TEXT)[0]


@pytest.mark.parametrize(
    ("program", "own_flags"),
    [
        (generate.main, []),
        (sample.main, ["--prompts", "the", "--settings", "0:none"]),
        (evaluate.main, ["--tokens", "valid.npy", "--text", "text.txt"]),
    ],
)
def test_bad_models_and_tokenizers(trained, tmp_path, monkeypatch, capfd, program, own_flags):
    monkeypatch.chdir(trained.folder)
    output = [] if program is generate.main else ["--output", str(tmp_path / "output")]

    def error(**changes) -> str:
        flags = dict(zip(trained.flags[::2], trained.flags[1::2], strict=True))
        flags |= {f"--{name}": str(value) for name, value in changes.items()}
        return fails(capfd, program, [word for pair in flags.items() for word in pair] + own_flags + output)

    assert "missing.pt" in error(checkpoint=tmp_path / "missing.pt")
    assert "missing.json" in error(vocab_path=tmp_path / "missing.json")
    (tmp_path / "damaged.pt").write_bytes(trained.checkpoint.read_bytes()[:-100])
    assert "damaged.pt" in error(checkpoint=tmp_path / "damaged.pt")
    other = BPETokenizer.train(trained.folder / "text.txt", 260, ["<|endoftext|>"])
    other.save(tmp_path / "vocab.json", tmp_path / "merges.txt")
    message = error(vocab_path=tmp_path / "vocab.json", merges_path=tmp_path / "merges.txt")
    assert "was trained with another tokenizer" in message
    save_model(tmp_path / "small.pt", TransformerLM(260, 8, 8, 1, 1, 8), iteration=0, tokenizer=None, training={})
    assert "token ids up to 269" in error(checkpoint=tmp_path / "small.pt")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "--device cuda: this machine has none" in error(device="cuda")
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--temperature", "-1"], "temperature must be 0 (greedy) or more"),
        (["--top_p", "2"], "top_p must be above 0"),
        (["--top_k", "0"], "top_k must be at least 1"),
        (["--prompt", "\udcff"], "surrogate"),
    ],
)
def test_bad_generate_flags(trained, capfd, flags, message):
    assert message in fails(capfd, generate.main, [*trained.flags, *flags])


def test_bad_sample_flags(trained, tmp_path, capfd):
    flags = [*trained.flags, "--prompts", "the", "--output", str(tmp_path / "samples.txt"), "--settings"]
    assert "0.7:0.9 or 1.0:none" in fails(capfd, sample.main, [*flags, "warm"])
    assert "--threads must be at least 1" in fails(capfd, sample.main, [*flags, "0:none", "--threads", "0"])
    assert not (tmp_path / "samples.txt").exists()
    (tmp_path / "file").touch()
    flags[flags.index("--output") + 1] = str(tmp_path / "file" / "samples.txt")
    assert "cannot write" in fails(capfd, sample.main, [*flags, "0:none"])


def test_bad_evaluate_inputs(trained, tmp_path, capfd):
    tokens, text = trained.folder / "valid.npy", trained.folder / "text.txt"

    def error(tokens=tokens, text=text, more=()) -> str:
        flags = ["--tokens", str(tokens), "--text", str(text), "--output", str(tmp_path / "evaluation.json"), *more]
        return fails(capfd, evaluate.main, [*trained.flags, *flags])

    assert "missing.npy: there is no such file" in error(tokens=tmp_path / "missing.npy")
    (tmp_path / "cut.npy").write_bytes(tokens.read_bytes()[:-2])
    assert "not a complete .npy file" in error(tokens=tmp_path / "cut.npy")
    np.save(tmp_path / "foreign.npy", np.array([1, 270], dtype=np.uint16))
    assert "token id 270 at position 1" in error(tokens=tmp_path / "foreign.npy")
    assert "no such text file" in error(text=tmp_path / "missing.txt")
    assert "batch size must be at least 1" in error(more=["--batch_size", "0"])
    assert not (tmp_path / "evaluation.json").exists()


def test_a_model_with_a_weight_that_is_no_number(trained, capfd, tmp_path):
    model = TransformerLM(270, 16, 16, 1, 2, 24)
    torch.nn.init.constant_(model.layers[0].ffn.w2.weight, float("nan"))
    spoiled = tmp_path / "spoiled.pt"
    save_model(spoiled, model, iteration=5, tokenizer=trained.tokenizer.fingerprint, training={})
    flags = [*trained.flags, "--checkpoint", str(spoiled)]
    text = ["--tokens", str(trained.folder / "valid.npy"), "--text", str(trained.folder / "text.txt")]
    for main, more in [
        (generate.main, []),
        (sample.main, ["--prompts", "the", "--settings", "1.0:none", "--output", str(tmp_path / "samples.txt")]),
        (evaluate.main, [*text, "--output", str(tmp_path / "evaluation.json")]),
        (export.main, ["--output", str(tmp_path / "exported")]),
        (serve.main, ["--port", "0"]),
    ]:
        error = fails(capfd, main, [*flags, *more])
        assert f"{spoiled}: the weight layers.0.ffn.w2.weight holds NaN or infinite values" in error
    assert [path.name for path in tmp_path.iterdir()] == ["spoiled.pt"]
