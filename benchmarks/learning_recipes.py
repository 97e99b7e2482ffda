"""The recipes that benchmarks/learning.py compares, each as its authors describe it, at one shape.

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


@dataclass(frozen=True)
class Shape:
    """Of the model and its batches; `hidden` is the inner width of SwiGLU, networks without a gate get 3/2 of it."""

    vocab_size: int
    context: int
    batch: int
    width: int
    layers: int
    heads: int
    hidden: int


@dataclass
class Recipe:
    """What a training loop needs.

    Attributes:
        model: for its parameters.
        loss: mean nats per token of (inputs, targets).
        optimizers: their groups' "lr" is the peak.
        schedule: (step, steps) → factor of the peak.
        shape: of the batches.
        random_windows: windows with replacement, instead of minlm's passes.
        clip: norm of the gradients at most.
    """

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizers: list[torch.optim.Optimizer]
    schedule: Callable[[int, int], float]
    shape: Shape
    random_windows: bool = True
    clip: float = 1.0

    def batch(self, tokens: np.ndarray, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a step."""
        batch, context = self.shape.batch, self.shape.context
        if self.random_windows:
            return get_batch(tokens, batch, context, generator=np.random.default_rng([seed, step]))
        return batch_at(tokens, batch, context, "cpu", seed, step)


def cosine(warmup: float, final: float) -> Callable[[int, int], float]:
    """Cosine to `final` of the peak after `warmup` of the steps."""
    return lambda step, steps: get_lr_cosine_schedule(step + 1, 1.0, final, max(1, int(warmup * steps)), steps)


def _minlm(shape: Shape) -> fast.TransformerLM:
    sizes = (shape.vocab_size, shape.context, shape.width, shape.layers, shape.heads, shape.hidden)
    return fast.TransformerLM(*sizes, flash_attention=shape.context > 96)  # the fused kernel is slower for less


def minlm(tokens: np.ndarray, shape: Shape, lr: float = 8e-3) -> Recipe:
    """The default run: bigram start, look-back heads, passes over the text, AdamW, a straight line to 0."""
    model = _minlm(shape)
    start_from_bigram(model, *fit_bigram(count_pairs(tokens, shape.vocab_size), shape.width))
    look_back(model)
    optimizer = fast.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.995), weight_decay=0.0)
    line = lambda step, steps: get_lr_linear_schedule(step, 1.0, 0.0, 40, steps)  # noqa: E731
    return Recipe(model, model.loss, [optimizer], line, shape, random_windows=False, clip=100.0)


def before(tokens: np.ndarray, shape: Shape, lr: float = 3e-3) -> Recipe:
    """The default run before: random weights, windows with replacement, AdamW, cosine to 5 %."""
    model = _minlm(shape)
    optimizer = fast.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.1)
    return Recipe(model, model.loss, [optimizer], cosine(0.05, 0.05), shape)


def llama(tokens: np.ndarray, shape: Shape, lr: float = 3e-3) -> Recipe:
    """Transformers' Llama with torch's AdamW: betas 0.9 and 0.95, decay 0.1, cosine to 10 % (Touvron et al. 2023)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape.vocab_size, hidden_size=shape.width, intermediate_size=shape.hidden,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, max_position_embeddings=shape.context,
        attn_implementation="sdpa",
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(model(inputs, use_cache=False).logits.flatten(0, 1), targets.flatten())

    return Recipe(model, loss, [optimizer], cosine(0.05, 0.1), shape)


class _GPT(nn.Module):
    """GPT-2: LayerNorm, learned positions, GELU, head tied to the embeddings; normals of 0.02 as in nanoGPT."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.tokens = nn.Embedding(shape.vocab_size, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                shape.width, shape.heads, shape.hidden * 3 // 2, dropout=0.0, activation=nn.GELU(approximate="tanh"),
                batch_first=True, norm_first=True, bias=False,
            )
            for _ in range(shape.layers)
        )  # fmt: skip
        self.norm = nn.LayerNorm(shape.width, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                output = name.endswith(("out_proj.weight", "linear2.weight"))
                nn.init.normal_(weight, std=0.02 / (math.sqrt(2 * shape.layers) if output else 1))

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean nats per token."""
        length = inputs.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        x = self.tokens(inputs) + self.positions.weight[:length]
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=True)
        return F.cross_entropy((self.norm(x) @ self.tokens.weight.T).flatten(0, 1), targets.flatten())


def nanogpt(tokens: np.ndarray, shape: Shape, lr: float = 1e-3) -> Recipe:
    """nanoGPT's recipe for a small text: AdamW with betas 0.9 and 0.99, decay 0.1 of matrices, cosine to 10 %."""
    model = _GPT(shape)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), fused=True)
    return Recipe(model, model.loss, [optimizer], cosine(0.02, 0.1), shape)


class _Nanochat(nn.Module):
    """nanochat's model: RoPE, norms without weights, QK-norm, ReLU², value embeddings, logits capped at 15."""

    def __init__(self, shape: Shape):
        super().__init__()
        width, self.heads, inner = shape.width, shape.heads, shape.hidden * 3 // 2
        bound = math.sqrt(3 / width)
        self.tokens, self.head = nn.Embedding(shape.vocab_size, width), nn.Linear(width, shape.vocab_size, bias=False)
        values = (nn.Embedding(shape.vocab_size, width) for _ in range(0, shape.layers, 2))
        self.values = nn.ModuleDict(zip(map(str, range(shape.layers - 1, -1, -2)), values, strict=False))
        self.layers = nn.ModuleList(
            nn.ModuleDict({
                "qkv": nn.Linear(width, 3 * width, bias=False), "out": nn.Linear(width, width, bias=False),
                "up": nn.Linear(width, inner, bias=False), "down": nn.Linear(inner, width, bias=False),
            })
            for _ in range(shape.layers)
        )  # fmt: skip
        for layer in self.layers:
            for name, linear in layer.items():
                nn.init.zeros_(linear.weight) if name in ("out", "down") else nn.init.uniform_(
                    linear.weight, -bound, bound
                )
        nn.init.normal_(self.head.weight, std=0.001)
        for embedding in self.values.children():
            nn.init.uniform_(embedding.weight, -bound, bound)
        d_k = width // shape.heads
        angles = torch.outer(torch.arange(shape.context), 10000.0 ** (-torch.arange(0, d_k, 2) / d_k))
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
        for index, layer in enumerate(self.layers):
            q, k, v = layer["qkv"](norm(x)).chunk(3, dim=-1)
            if str(index) in self.values:
                v = v + self.values[str(index)](inputs)
            q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
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


def nanochat(tokens: np.ndarray, shape: Shape, lr: float = 0.02) -> Recipe:
    """nanochat's recipe: Muon for the layers, Adam with rates of their own for embeddings and head, a linear end."""
    model = _Nanochat(shape)
    scale = (shape.width / 768) ** -0.5 * lr / 0.02
    adam = [
        {"params": [model.tokens.weight, *model.values.parameters()], "lr": 0.2 * scale},
        {"params": [model.head.weight], "lr": 0.004 * scale},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        Muon(model.layers.parameters(), lr), torch.optim.AdamW(adam, betas=(0.8, 0.95), eps=1e-10, weight_decay=0.0),
    ]  # fmt: skip
    return Recipe(model, model.loss, optimizers, lambda step, steps: min(1.0, (steps - step) / (0.4 * steps)), shape)


RECIPES: dict[str, Callable[..., Recipe]] = {
    "minlm": minlm, "minlm before": before, "Llama": llama, "nanoGPT": nanogpt, "nanochat": nanochat,
}  # fmt: skip
