"""The loss over the first steps of a training run, in float32 as a textbook has it and in the fast ways.

    python benchmarks/numerics.py --tokens data/tokens/train.npy --vocab_size 2048 --picture docs/images/numerics.png

The model is that of the default run. The baseline is torch's cross-entropy of all logits with the written-out
attention; a second baseline with another order of the batches shows what noise looks like.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from minlm.training.settings import TrainingSettings
from minlm.training.tokens import open_tokens
from minlm.training.trainer import Trainer
from minlm.transformer import TransformerLM, cross_entropy_loss

MODEL = {"context_length": 96, "d_model": 192, "num_layers": 2, "num_heads": 4, "d_ff": 512}
WAYS = {
    "fast, float32": {},
    "fast, float32, compiled": {"compile": "on"},
    "fast, bfloat16": {"dtype": "bfloat16"},
    "fast, bfloat16, compiled": {"dtype": "bfloat16", "compile": "on"},
}
WINDOW = 10  # steps averaged in the picture


def losses(tokens: np.ndarray, vocab_size: int, steps: int, plain: bool = False, seed: int = 0, **way: str) -> list:
    """Nats per token of each step."""
    settings = TrainingSettings(**{
        "batch_size": 8, "total_tokens": steps * 8 * 96, "lr_max": 3e-3, "lr_min": 1.5e-4, "warmup_iters": 20,
        "weight_decay": 0.1, "max_grad_norm": 1.0, "beta2": 0.98, "dtype": "float32", "compile": "off", **way,
    })  # fmt: skip
    model = {**MODEL, "vocab_size": vocab_size, "flash_attention": not plain}
    trainer = Trainer(model, settings, tokens, tokens, None, torch.device("cpu"))
    if plain:
        trainer.loss = _PlainLoss(trainer.model)
    trainer.settings.seed = seed  # of the batches alone: the model has its weights
    for _ in range(steps):
        trainer.train_step()
    return [loss.item() for loss, _ in trainer.unread]


class _PlainLoss(torch.nn.Module):
    def __init__(self, model: TransformerLM):
        super().__init__()
        self.model = model

    def forward(self, token_ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """As in a textbook: all logits, then the loss."""
        return cross_entropy_loss(self.model(token_ids), targets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", required=True)
    parser.add_argument("--vocab_size", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    tokens = open_tokens(options.tokens, options.vocab_size, MODEL["context_length"])
    given = tokens, options.vocab_size, options.steps

    curves = {"float32, plain": np.array(losses(*given, plain=True))}
    curves["float32, plain, other batches"] = np.array(losses(*given, plain=True, seed=1))
    curves |= {name: np.array(losses(*given, **way)) for name, way in WAYS.items()}
    plain = curves["float32, plain"]
    print("| | largest difference to plain float32 | mean difference | mean of the last 50 steps |\n|---|---|---|---|")
    for name, curve in curves.items():
        difference = curve - plain
        print(f"| {name} | {abs(difference).max():.4f} | {difference.mean():+.5f} | {curve[-50:].mean():.4f} |")
    if options.picture:
        draw(curves, options.picture)


def draw(curves: dict[str, np.ndarray], path: Path) -> None:
    """Losses above, their differences to the first below."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 5.5), sharex=True)
    mean = np.ones(WINDOW) / WINDOW
    first, *_ = curves.values()
    for name, curve in curves.items():
        style = {"color": "lightgray"} if "other" in name else {"linewidth": 1}
        above.plot(np.convolve(curve, mean, "valid"), label=name, **style)
        below.plot(np.convolve(curve - first, mean, "valid"), **style)
    above.set_ylabel(f"loss, nats (mean of {WINDOW})")
    above.legend(fontsize="small")
    below.set(xlabel="step", ylabel="difference to plain float32", ylim=(-0.1, 0.1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=70)


if __name__ == "__main__":
    main()
