"""The library without the workflow: a tokenizer from a text, a small model, a short training, a sample.

python examples/library.py                      # the sample corpus, a few minutes
python examples/library.py story.txt --steps 1000
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from minlm.corpus.bible import write_sample
from minlm.tokenization import BPETokenizer
from minlm.transformer import (
    AdamW,
    TransformerLM,
    cross_entropy_loss,
    generate,
    get_batch,
    get_lr_cosine_schedule,
    gradient_clipping,
)

parser = argparse.ArgumentParser(description="Train a tokenizer and a small model on a text, and let it write.")
parser.add_argument("text", nargs="?", type=Path, help="UTF-8 text (default: the Bible in Basic English)")
parser.add_argument("--vocab_size", type=int, default=1024)
parser.add_argument("--steps", type=int, default=300)
parser.add_argument("--prompt", default="And the king")
arguments = parser.parse_args()
torch.manual_seed(0)

with tempfile.TemporaryDirectory() as folder:
    vocab_path, merges_path = f"{folder}/vocab.json", f"{folder}/merges.txt"
    text = arguments.text
    if text is None:
        text = Path(folder, "train.txt")
        write_sample(text, Path(folder, "valid.txt"))

    # A tokenizer, kept as two files that other libraries read too.
    BPETokenizer.train(text, arguments.vocab_size, ["<|endoftext|>"]).save(vocab_path, merges_path)
    tokenizer = BPETokenizer.from_files(vocab_path, merges_path, special_tokens=["<|endoftext|>"])
    tokens = np.array(tokenizer.encode(text.read_text(encoding="utf-8")), dtype=np.uint16)

# A model, and the training loop that the workflow has in a longer version.
context_length = 64
model = TransformerLM(
    len(tokenizer.vocab), context_length, d_model=128, num_layers=2, num_heads=4, d_ff=344, rope_theta=10000.0
)
optimizer = AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
generator = np.random.default_rng(0)
for step in range(arguments.steps):
    for group in optimizer.param_groups:
        group["lr"] = get_lr_cosine_schedule(step, 3e-3, 3e-4, arguments.steps // 20, arguments.steps)
    inputs, targets = get_batch(tokens, 16, context_length, generator=generator)
    loss = cross_entropy_loss(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    gradient_clipping(model.parameters(), 1.0)
    optimizer.step()
    if step % 50 == 0 or step == arguments.steps - 1:
        print(f"step {step}: loss {loss.item():.2f}")

model.eval()
ids = generate(model, tokenizer.encode(arguments.prompt), max_new_tokens=50, temperature=0.7, top_p=0.9, seed=0)
print(tokenizer.decode(ids.tolist()))
