"""From tokens to a model that writes: all of training in one file.

    python -m minlm.transformer.loop --train_tokens data/tokens/train.npy --val_tokens data/tokens/valid.npy \\
        --vocab_path data/tokenizer/vocab.json --merges_path data/tokenizer/merges.txt

`minlm.training` takes the same steps in the same order for the workflow. What it adds is that a run survives: it saves
its state, resumes, runs in several processes, and uses the fast forms of `minlm.fast`.
"""

import argparse
import math
import time
from dataclasses import dataclass

import numpy as np
import torch

from minlm.tokenization import BPETokenizer
from minlm.transformer.checkpoint import save_model
from minlm.transformer.data import Tokens, batch_at, evaluation_batches
from minlm.transformer.init import count_pairs, fit_bigram, look_back, start_from_bigram
from minlm.transformer.model import TransformerLM
from minlm.transformer.optim import AdamW, get_lr_linear_schedule, gradient_clipping
from minlm.transformer.sampling import generate


@dataclass
class Recipe:
    """How a model is trained: `steps` batches of `batch_size` windows."""

    steps: int = 1200
    batch_size: int = 8
    lr_max: float = 8e-3  # after the warm-up
    lr_min: float = 0.0  # at the end
    warmup_iters: int = 40
    beta1: float = 0.9
    beta2: float = 0.995
    weight_decay: float = 0.0
    max_grad_norm: float = 100.0
    eval_interval: int = 240
    seed: int = 0


def train(model: TransformerLM, train_tokens: Tokens, valid_tokens: Tokens, recipe: Recipe) -> float:
    """Train `model` in place, print its progress and return the final validation loss, in nats per token."""
    device, context_length = model.lm_head.weight.device, model.config["context_length"]
    optimizer = AdamW(model.parameters(), betas=(recipe.beta1, recipe.beta2), weight_decay=recipe.weight_decay)
    started, loss_sum, steps_summed = time.perf_counter(), 0.0, 0
    valid_loss = math.nan
    for step in range(recipe.steps):
        # 1. The learning rate of this step.
        for group in optimizer.param_groups:
            group["lr"] = get_lr_linear_schedule(step, recipe.lr_max, recipe.lr_min, recipe.warmup_iters, recipe.steps)
        # 2. Forward and backward: the loss, and its gradient for each weight.
        inputs, targets = batch_at(train_tokens, recipe.batch_size, context_length, device, recipe.seed, step)
        loss = model.loss(inputs, targets)
        loss.backward()
        # 3. Clip the gradient, update the weights.
        gradient_clipping(model.parameters(), recipe.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        # 4. Now and then: validate on text that is never trained on.
        loss_sum, steps_summed = loss_sum + loss.item(), steps_summed + 1
        if (step + 1) % recipe.eval_interval == 0 or step + 1 == recipe.steps:
            valid_loss = validation_loss(model, valid_tokens, recipe.batch_size)
            print(
                f"step {step + 1:,} of {recipe.steps:,}: train loss {loss_sum / steps_summed:.3f}, "
                f"validation loss {valid_loss:.3f}, {time.perf_counter() - started:.0f} s",
                flush=True,
            )
            loss_sum, steps_summed = 0.0, 0
    return valid_loss


@torch.inference_mode()
def validation_loss(model: TransformerLM, tokens: Tokens, batch_size: int) -> float:
    """Mean nats per token over all of `tokens`; ln(vocab_size) is what blind guessing costs."""
    total = 0.0
    device, context_length = model.lm_head.weight.device, model.config["context_length"]
    for inputs, targets in evaluation_batches(tokens, batch_size, context_length, device):
        total += model.loss(inputs, targets).item() * targets.numel()
    return total / (len(tokens) - 1)


def main() -> None:
    """Train the model of the default configuration on token files, save it, and let it write."""
    parser = argparse.ArgumentParser(description="Train a model with the plain, readable training loop.")
    parser.add_argument("--train_tokens", required=True, metavar="NPY", help="token ids to train on")
    parser.add_argument("--val_tokens", required=True, metavar="NPY", help="token ids to validate on")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="training steps")
    parser.add_argument("--checkpoint_path", default="model.pt", metavar="FILE", help="the model to write")
    parser.add_argument("--vocab_path", required=True, metavar="JSON", help="the tokenizer's vocabulary")
    parser.add_argument("--merges_path", required=True, metavar="TXT", help="the tokenizer's merges")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()

    recipe = Recipe(steps=arguments.steps)
    tokenizer = BPETokenizer.from_files(arguments.vocab_path, arguments.merges_path, ["<|endoftext|>"])
    train_tokens, valid_tokens = np.load(arguments.train_tokens, mmap_mode="r"), np.load(arguments.val_tokens)
    vocab_size = len(tokenizer.vocab)
    torch.manual_seed(recipe.seed)
    model = TransformerLM(vocab_size, context_length=96, d_model=192, num_layers=2, num_heads=4, d_ff=512)
    start_from_bigram(model, *fit_bigram(count_pairs(train_tokens, vocab_size), d_model=192))
    look_back(model)
    model = model.to(arguments.device)
    print(f"{model.num_parameters():,} parameters; guessing blindly costs {math.log(vocab_size):.3f} nats")
    train(model, train_tokens, valid_tokens, recipe)

    save_model(arguments.checkpoint_path, model, recipe.steps, tokenizer.fingerprint, vars(recipe))
    (end,) = tokenizer.encode("<|endoftext|>")
    ids = generate(model, tokenizer.encode("And the king"), 100, temperature=0.7, top_p=0.9, stop_token=end, seed=0)
    print(tokenizer.decode(ids.tolist()))


if __name__ == "__main__":
    main()
