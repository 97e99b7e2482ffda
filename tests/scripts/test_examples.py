"""The scripts and the notebook in examples/, at tiny sizes."""

import json
import re
import runpy
import sys
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from minlm.corpus.chat import collect_chat
from minlm.tokenization import BPETokenizer
from minlm.training.metrics import write_metrics
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


@pytest.fixture
def project(tmp_path) -> Path:
    """What a finished run leaves, tiny."""
    (tmp_path / "data/tokenizer").mkdir(parents=True)
    (tmp_path / "data/corpus").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "data/corpus/valid.txt").write_text(STORY)
    tokenizer = BPETokenizer.train(tmp_path / "data/corpus/valid.txt", 300, ["<|endoftext|>"])
    tokenizer.save(tmp_path / "data/tokenizer/vocab.json", tmp_path / "data/tokenizer/merges.txt")
    model = TransformerLM(len(tokenizer.vocab), 16, 16, 1, 2, 24)
    save_model(tmp_path / "results/model.pt", model, iteration=12, tokenizer=tokenizer.fingerprint, training={})
    return tmp_path


def test_generating_from_a_finished_run(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    output = run(monkeypatch, capsys, "generate.py", "The cat", "--max_new_tokens", "5")
    assert "12 steps of training" in output
    assert output.count("The cat") == 3


def test_conversations_of_verses(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(monkeypatch, capsys, "chat.py", "--write")
    assert collect_chat(["chats/train.jsonl"], ["chats/valid.jsonl"], "data") == {"train": 360, "valid": 120}
    train, valid = (
        {
            tuple(message["content"] for message in json.loads(line)["messages"])
            for line in path.read_text().splitlines()
        }
        for path in (tmp_path / "chats/train.jsonl", tmp_path / "chats/valid.jsonl")
    )
    assert not {question for question, _ in valid} & {question for question, _ in train}
    assert {answer for _, answer in valid} == {answer for _, answer in train}


def test_the_notebook_runs(project):
    rows = [{"iter": step, "train_loss": 5.0, "val_loss": None if step < 4 else 5.1} for step in (1, 2, 4)]
    write_metrics(project / "results/metrics.csv", rows)
    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)  # generated
    NotebookClient(notebook, resources={"metadata": {"path": project}}, timeout=120).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    kinds = Counter(kind for output in outputs for kind in output.get("data", ()))
    assert kinds["image/png"] == 3  # attention, loss, probabilities
    assert kinds["text/html"] == 3  # tokens, neighbors, surprise
    printed = "".join(output.get("text", "") for output in outputs)
    assert "12 training steps, 291 tokens" in printed
    assert printed.count("And the king") == 3
