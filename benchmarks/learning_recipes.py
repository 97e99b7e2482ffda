"""The recipes that benchmarks/learning.py compares, each as its authors describe it, at the shape of the quickstart.

All models have the same width, layers and heads, and feed-forward networks with the same number of weights.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minlm.fast import transformer as fast
from minlm.transformer import get_batch, get_lr_cosine_schedule, get_lr_linear_schedule
from minlm.transformer.data import batch_at
from minlm.transformer.init import count_pairs, fit_bigram, look_back, start_from_bigram

CONTEXT, BATCH, WIDTH, LAYERS, HEADS, HIDDEN = 96, 8, 192, 2, 4, 512


@dataclass
class Recipe:
    """What a training loop needs.

    Attributes:
        model: for its parameters.
        loss: mean nats per token of (inputs, targets).
        optimizers: their groups' "lr" is the peak.
        schedule: (step, steps) → factor of the peak.
        random_windows: windows with replacement, instead of minlm's passes.
        clip: norm of the gradients at most.
    """

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizers: list[torch.optim.Optimizer]
    schedule: Callable[[int, int], float]
    random_windows: bool = True
    clip: float = 1.0

    def batch(self, tokens: np.ndarray, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a step."""
        if self.random_windows:
            return get_batch(tokens, BATCH, CONTEXT, generator=np.random.default_rng([seed, step]))
        return batch_at(tokens, BATCH, CONTEXT, "cpu", seed, step)


def cosine(warmup: float, final: float) -> Callable[[int, int], float]:
    """Cosine to `final` of the peak after `warmup` of the steps."""
    return lambda step, steps: get_lr_cosine_schedule(step + 1, 1.0, final, max(1, int(warmup * steps)), steps)


def minlm(tokens: np.ndarray, vocab_size: int, lr: float = 8e-3) -> Recipe:
    """The quickstart: bigram start, look-back heads, passes over the text, AdamW, a straight line to 0."""
    model = fast.TransformerLM(vocab_size, CONTEXT, WIDTH, LAYERS, HEADS, HIDDEN)
    start_from_bigram(model, *fit_bigram(count_pairs(tokens, vocab_size), WIDTH))
    look_back(model)
    optimizer = fast.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=0.0)
    line = lambda step, steps: get_lr_linear_schedule(step, 1.0, 0.0, 40, steps)  # noqa: E731
    return Recipe(model, model.loss, [optimizer], line, random_windows=False)


def before(tokens: np.ndarray, vocab_size: int, lr: float = 3e-3) -> Recipe:
    """The quickstart before: random weights, windows with replacement, AdamW, cosine to 5 %."""
    model = fast.TransformerLM(vocab_size, CONTEXT, WIDTH, LAYERS, HEADS, HIDDEN)
    optimizer = fast.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.1)
    return Recipe(model, model.loss, [optimizer], cosine(0.05, 0.05))


def llama(tokens: np.ndarray, vocab_size: int, lr: float = 3e-3) -> Recipe:
    """Transformers' Llama with torch's AdamW: betas 0.9 and 0.95, decay 0.1, cosine to 10 % (Touvron et al. 2023)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocab_size, hidden_size=WIDTH, intermediate_size=HIDDEN, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, max_position_embeddings=CONTEXT, attn_implementation="sdpa",
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(model(inputs, use_cache=False).logits.flatten(0, 1), targets.flatten())

    return Recipe(model, loss, [optimizer], cosine(0.05, 0.1))


class _GPT(nn.Module):
    """GPT-2: LayerNorm, learned positions, GELU, head tied to the embeddings; normals of 0.02 as in nanoGPT."""

    def __init__(self, vocab_size: int):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab_size, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH, HEADS, HIDDEN * 3 // 2, dropout=0.0, activation=nn.GELU(approximate="tanh"), batch_first=True,
                norm_first=True, bias=False,
            )
            for _ in range(LAYERS)
        )  # fmt: skip
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                output = name.endswith(("out_proj.weight", "linear2.weight"))
                nn.init.normal_(weight, std=0.02 / (math.sqrt(2 * LAYERS) if output else 1))

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean nats per token."""
        length = inputs.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        x = self.tokens(inputs) + self.positions.weight[:length]
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=True)
        return F.cross_entropy((self.norm(x) @ self.tokens.weight.T).flatten(0, 1), targets.flatten())


def nanogpt(tokens: np.ndarray, vocab_size: int, lr: float = 1e-3) -> Recipe:
    """nanoGPT's recipe for a small text: AdamW with betas 0.9 and 0.99, decay 0.1 of matrices, cosine to 10 %."""
    model = _GPT(vocab_size)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), fused=True)
    return Recipe(model, model.loss, [optimizer], cosine(0.02, 0.1))


class _Nanochat(nn.Module):
    """nanochat's model: RoPE, norms without weights, QK-norm, ReLU², value embeddings, logits capped at 15."""

    def __init__(self, vocab_size: int):
        super().__init__()
        bound = math.sqrt(3 / WIDTH)
        self.tokens, self.head = nn.Embedding(vocab_size, WIDTH), nn.Linear(WIDTH, vocab_size, bias=False)
        self.values = nn.Embedding(vocab_size, WIDTH)  # of the last layer
        self.layers = nn.ModuleList(
            nn.ModuleDict({
                "qkv": nn.Linear(WIDTH, 3 * WIDTH, bias=False), "out": nn.Linear(WIDTH, WIDTH, bias=False),
                "up": nn.Linear(WIDTH, HIDDEN * 3 // 2, bias=False),
                "down": nn.Linear(HIDDEN * 3 // 2, WIDTH, bias=False),
            })
            for _ in range(LAYERS)
        )  # fmt: skip
        for layer in self.layers:
            for name, linear in layer.items():
                nn.init.zeros_(linear.weight) if name in ("out", "down") else nn.init.uniform_(
                    linear.weight, -bound, bound
                )
        nn.init.normal_(self.head.weight, std=0.001)
        nn.init.uniform_(self.values.weight, -bound, bound)
        angles = torch.outer(torch.arange(CONTEXT), 10000.0 ** (-torch.arange(0, WIDTH // HEADS, 2) * HEADS / WIDTH))
        self.cos, self.sin = angles.cos(), angles.sin()

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean nats per token."""
        length = inputs.shape[1]
        norm = lambda x: F.rms_norm(x, x.shape[-1:])  # noqa: E731

        def rotate(x: Tensor) -> Tensor:
            a, b = x.chunk(2, dim=-1)
            cos, sin = self.cos[:length], self.sin[:length]
            return norm(torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1))

        x = norm(self.tokens(inputs))
        for layer in self.layers:
            q, k, v = layer["qkv"](norm(x)).chunk(3, dim=-1)
            if layer is self.layers[-1]:
                v = v + self.values(inputs)
            q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in (q, k, v))
            heads = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
            x = x + layer["out"](heads.transpose(1, 2).flatten(-2))
            x = x + layer["down"](F.relu(layer["up"](norm(x))).square())
        logits = 15 * torch.tanh(self.head(norm(x)) / 15)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalized by five Newton-Schulz steps (Jordan et al. 2024)."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every matrix."""
        for group in self.param_groups:
            for weight in group["params"]:
                mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                mean.lerp_(weight.grad, 1 - group["momentum"])
                x = torch.lerp(weight.grad, mean, group["momentum"])
                x = x.T if weight.shape[0] > weight.shape[1] else x
                x = x / (x.norm() + 1e-7)
                for _ in range(5):
                    a = x @ x.T
                    x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
                x = x.T if weight.shape[0] > weight.shape[1] else x
                weight.sub_(x, alpha=group["lr"] * max(1, weight.shape[0] / weight.shape[1]) ** 0.5)


def nanochat(tokens: np.ndarray, vocab_size: int, lr: float = 0.02) -> Recipe:
    """nanochat's recipe: Muon for the layers, Adam with rates of their own for embeddings and head, a linear end."""
    model = _Nanochat(vocab_size)
    scale = (WIDTH / 768) ** -0.5 * lr / 0.02
    adam = [
        {"params": [model.tokens.weight, model.values.weight], "lr": 0.2 * scale},
        {"params": [model.head.weight], "lr": 0.004 * scale},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        Muon(model.layers.parameters(), lr), torch.optim.AdamW(adam, betas=(0.8, 0.95), eps=1e-10, weight_decay=0.0),
    ]  # fmt: skip
    return Recipe(model, model.loss, optimizers, lambda step, steps: min(1.0, (steps - step) / (0.4 * steps)))


RECIPES: dict[str, Callable[..., Recipe]] = {
    "minlm": minlm, "minlm before": before, "Llama": llama, "nanoGPT": nanogpt, "nanochat": nanochat,
}  # fmt: skip
