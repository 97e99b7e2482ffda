"""The plain training loop: it learns, and the trainer of the workflow takes the same steps."""

import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch

from minlm.tokenization import BPETokenizer
from minlm.training.settings import TrainingSettings
from minlm.training.trainer import Trainer
from minlm.transformer import TransformerLM, loop
from minlm.transformer.init import look_back
from minlm.transformer.loop import Recipe, train, validation_loss

SHAPE = {"vocab_size": 13, "context_length": 16, "d_model": 32, "num_layers": 2, "num_heads": 2, "d_ff": 64}
RECIPE = Recipe(steps=40, batch_size=4, lr_max=1e-2, lr_min=1e-3, warmup_iters=4, eval_interval=20, seed=3)


@pytest.fixture
def tokens():
    train_tokens = (np.arange(900) * 5 % 13).astype(np.uint16)
    return train_tokens, (np.arange(70) * 5 % 13).astype(np.uint16)


def test_the_loop_learns(tokens, capsys):
    torch.manual_seed(RECIPE.seed)
    model = TransformerLM(**SHAPE)
    before = validation_loss(model, tokens[1], 4)
    after = train(model, *tokens, RECIPE)
    assert before > 2
    assert after < 0.1  # the text repeats every 13 tokens
    assert after == pytest.approx(validation_loss(model, tokens[1], 4))
    assert "step 40 of 40: train loss" in capsys.readouterr().out


def test_the_workflow_trains_the_same_model(tokens):
    torch.manual_seed(RECIPE.seed)
    model = TransformerLM(**SHAPE)
    look_back(model)
    loss = train(model, *tokens, RECIPE)
    wanted = {name: value for name, value in asdict(RECIPE).items() if name != "steps"}
    settings = TrainingSettings(**wanted, total_tokens=40 * 4 * 16, dtype="float32", compile="off")
    trainer = Trainer(SHAPE, settings, *tokens, None, torch.device("cpu"))
    rows = trainer.run()
    assert rows[-1]["val_loss"] == pytest.approx(loss, abs=1e-3)
    for ours, theirs in zip(model.parameters(), trainer.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=1e-2)


def test_the_loop_runs_by_itself(tmp_path, monkeypatch, capsys):
    text = tmp_path / "text.txt"
    text.write_text("And the king said to the man, Go in peace. " * 200, encoding="utf-8")
    tokenizer = BPETokenizer.train(text, 300, ["<|endoftext|>"])
    tokenizer.save(tmp_path / "vocab.json", tmp_path / "merges.txt")
    np.save(tmp_path / "tokens.npy", np.array(tokenizer.encode(text.read_text(encoding="utf-8")), dtype=np.uint16))
    flags = {
        "train_tokens": "tokens.npy", "val_tokens": "tokens.npy", "vocab_path": "vocab.json",
        "merges_path": "merges.txt", "steps": "2", "checkpoint_path": "model.pt", "device": "cpu",
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["loop", *(f"--{name}={value}" for name, value in flags.items())])
    loop.main()
    assert "And the king" in capsys.readouterr().out
    from minlm.generation.load import load_with_tokenizer

    model, _, info = load_with_tokenizer("model.pt", "vocab.json", "merges.txt")
    assert model.config["d_model"] == 192
    assert info["iteration"] == 2
