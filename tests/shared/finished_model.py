"""A small model that a training could have left behind, in files: model.pt, vocab.json, merges.txt, evaluation.json."""

import json
from pathlib import Path

import torch

from minlm.corpus.bible import sample_chapters
from minlm.tokenization import BPETokenizer
from minlm.transformer import TransformerLM
from minlm.transformer.checkpoint import save_model

VOCAB_SIZE = 400  # of the model; the tokenizer has fewer
CONTEXT = 32
TEXT = "".join(f"{chapter}\n<|endoftext|>\n" for chapter in sample_chapters()[::100])


def write_finished_model(folder: Path) -> None:
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    tokenizer = BPETokenizer.train(folder / "text.txt", 380, ["<|endoftext|>"])
    tokenizer.save(folder / "vocab.json", folder / "merges.txt")
    torch.manual_seed(0)
    model = TransformerLM(VOCAB_SIZE, CONTEXT, 64, 3, 4, 80, rope_theta=500.0)
    with torch.no_grad():
        for parameter in model.parameters():  # the norms too, so that a missing one shows
            parameter.mul_(1 + 0.3 * torch.rand_like(parameter))
    training = {"lr_max": 0.001, "batch_size": 8}
    save_model(folder / "model.pt", model, iteration=1234, tokenizer=tokenizer.fingerprint, training=training)
    evaluation = {"nats_per_token": 1.5, "perplexity": 4.4817, "bits_per_byte": 1.25, "baseline": {}}
    (folder / "evaluation.json").write_text(json.dumps(evaluation))


def flags(folder: Path, output: Path) -> list[str]:
    """For nlm-export."""
    names = {"checkpoint": "model.pt", "vocab_path": "vocab.json", "merges_path": "merges.txt"}
    return [word for flag, name in names.items() for word in (f"--{flag}", str(folder / name))] + [
        "--output", str(output),
    ]  # fmt: skip
