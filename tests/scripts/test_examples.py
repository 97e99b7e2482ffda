"""The scripts in examples/, at tiny sizes."""

import re
import runpy
import sys
from pathlib import Path

from minlm.tokenization import BPETokenizer
from minlm.transformer import TransformerLM
from minlm.transformer.checkpoint import save_model

EXAMPLES = Path(__file__).parents[2] / "examples"
STORY = "Once upon a time the cat sat on the mat. The dog ran home to the cat.\n<|endoftext|>\n" * 40


def run(monkeypatch, capsys, name: str, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_library(tmp_path, monkeypatch, capsys):
    story = tmp_path / "story.txt"
    story.write_text(STORY)
    flags = "--vocab_size", "300", "--steps", "8", "--prompt", "Once upon"
    output = run(monkeypatch, capsys, "library.py", str(story), *flags)
    first, last = (float(loss) for loss in re.findall(r"loss ([\d.]+)", output))
    assert last < first
    assert "Once upon" in output


def test_generating_from_a_finished_run(tmp_path, monkeypatch, capsys):
    (tmp_path / "data/tokenizer").mkdir(parents=True)
    (tmp_path / "results").mkdir()
    (tmp_path / "story.txt").write_text(STORY)
    tokenizer = BPETokenizer.train(tmp_path / "story.txt", 300, ["<|endoftext|>"])
    tokenizer.save(tmp_path / "data/tokenizer/vocab.json", tmp_path / "data/tokenizer/merges.txt")
    model = TransformerLM(300, 16, 16, 1, 2, 24)
    save_model(tmp_path / "results/model.pt", model, iteration=12, tokenizer=tokenizer.fingerprint, training={})
    monkeypatch.chdir(tmp_path)
    output = run(monkeypatch, capsys, "generate.py", "The cat", "--max_new_tokens", "5")
    assert "12 steps of training" in output
    assert output.count("The cat") == 3
