"""Tokens per second and peak memory of training: minlm against transformers' Llama and a GPT of torch's own layers.

    python benchmarks/training.py [--shape reference] [--threads 1] [--malloc on|off] [--device cuda] [--output FILE]

One step is all that a training loop does: a batch from a memory-mapped uint16 file, forward, loss, backward, clipping,
optimizer. minlm's is `Trainer.train_step` itself; the peers use torch's fused AdamW. Each contestant lives in a process
of its own (so that the peak memory is its own), all with the same threads and the same setting of malloc; they take
turns, one block of steps at a time. The table has medians over the blocks, after a warm-up that holds the compilation.
Beside them runs a plain matrix product, for what the machine gives. Contestants slower than a fifth of the fastest
(bfloat16 where the CPU only emulates it) are told by their warm-up and not run again.
"""

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minlm.fast.memory import keep_freed_memory
from minlm.fast.transformer import TransformerLM
from minlm.fast.transformer.compiling import training_flops_per_token
from minlm.training.device import autocast, resolve_dtype
from minlm.training.settings import TrainingSettings
from minlm.training.tokens import open_tokens
from minlm.training.trainer import Trainer
from minlm.transformer.data import batch_at

SHAPES: dict[str, dict[str, int]] = {
    "reference": {
        "vocab_size": 10000, "context_length": 256, "d_model": 512, "num_layers": 4, "num_heads": 16, "d_ff": 1344,
        "batch": 16, "cuda_batch": 64,
    },
    "small": {
        "vocab_size": 4096, "context_length": 128, "d_model": 256, "num_layers": 4, "num_heads": 8, "d_ff": 688,
        "batch": 32, "cuda_batch": 256,
    },
    "quickstart": {
        "vocab_size": 2048, "context_length": 96, "d_model": 192, "num_layers": 2, "num_heads": 4, "d_ff": 512,
        "batch": 8, "cuda_batch": 8,
    },
    "gpt2-small": {
        "vocab_size": 50304, "context_length": 1024, "d_model": 768, "num_layers": 12, "num_heads": 12, "d_ff": 2048,
        "batch": 2, "cuda_batch": 32,
    },
}  # fmt: skip
STEPS = {"reference": 1, "small": 2, "quickstart": 20, "gpt2-small": 1}  # in a block, on a CPU
CONTESTANTS = [
    "minlm", "minlm compiled", "minlm written-out", "minlm written-out compiled", "Llama", "Llama compiled",
    "Llama bf16", "Llama bf16 compiled", "GPT", "GPT compiled",
]  # fmt: skip
TOO_SLOW = 5.0
MATMUL = 2048  # rows and columns of the plain matrix product
H200_FLOPS = 989e12  # bf16 without sparsity, for the model FLOP utilization


class GPT(nn.Module):
    """GPT-2's architecture of torch's own layers; d_ff · 3/2 gives it as many weights as the gated feed-forward has."""

    def __init__(
        self, vocab_size: int, context_length: int, d_model: int, num_layers: int, num_heads: int, d_ff: int
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.positions = nn.Embedding(context_length, d_model)
        self.blocks = nn.ModuleList(GPTBlock(d_model, num_heads, d_ff * 3 // 2) for _ in range(num_layers))
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, vocab_size, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (batch, seq) → logits (batch, seq, vocab)."""
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class GPTBlock(nn.Module):
    """Attention and feed-forward of `GPT`."""

    def __init__(self, d_model: int, num_heads: int, d_ff: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.qkv, self.out = nn.Linear(d_model, 3 * d_model, bias=False), nn.Linear(d_model, d_model, bias=False)
        self.feed_forward = nn.Sequential(
            nn.Linear(d_model, d_ff, bias=False), nn.GELU(approximate="tanh"), nn.Linear(d_ff, d_model, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, seq, d_model) → the same shape."""
        heads = self.qkv(self.norm1(x)).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.feed_forward(self.norm2(x))


def make_llama(shape: dict[str, int]) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape["vocab_size"], hidden_size=shape["d_model"], intermediate_size=shape["d_ff"],
        num_hidden_layers=shape["num_layers"], num_attention_heads=shape["num_heads"],
        max_position_embeddings=shape["context_length"], tie_word_embeddings=False, attn_implementation="sdpa",
        use_cache=False,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def peer_step(name: str, shape: dict[str, int], batch: int, device: torch.device, path: Path) -> Callable[[], Tensor]:
    """A training step as a user of that library would write it."""
    torch.manual_seed(0)
    context_length = shape["context_length"]
    is_llama = name.startswith("Llama")
    model = (make_llama(shape) if is_llama else GPT(**shape)).to(device)
    bf16 = "bf16" in name or device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    tokens = open_tokens(path, shape["vocab_size"], context_length)
    steps = 0

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        logits = model(inputs).logits if is_llama else model(inputs)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    compiled = torch.compile(loss_of) if "compiled" in name else loss_of

    def step() -> Tensor:
        nonlocal steps
        inputs, targets = batch_at(tokens, batch, context_length, device, 0, steps)
        steps += 1
        with autocast(device, torch.bfloat16 if bf16 else torch.float32):
            loss = compiled(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def minlm_step(name: str, shape: dict[str, int], batch: int, device: torch.device, path: Path) -> Callable[[], Tensor]:
    """The step of the program `train`, with torch's fused attention or the written-out form."""
    settings = TrainingSettings(
        batch_size=batch, total_tokens=10**9, lr_max=3e-4, lr_min=3e-5, warmup_iters=1, weight_decay=0.1,
        max_grad_norm=1.0, compile="on" if "compiled" in name else "off",
    )  # fmt: skip
    tokens = open_tokens(path, shape["vocab_size"], shape["context_length"])
    model = {**shape, "flash_attention": "written-out" not in name}
    trainer = Trainer(model, settings, tokens, tokens, None, device)

    def step() -> Tensor:
        trainer.train_step()
        if len(trainer.unread) == 10:
            trainer.read_losses()
        return trainer.model.lm_head.weight

    return step


def work(
    connection: Connection, name: str, shape: dict[str, int], batch: int, options: argparse.Namespace, path: Path
) -> None:
    """A contestant's process: runs as many steps as it is told, answers seconds and peak memory in bytes."""
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    if options.malloc == "on":
        keep_freed_memory()
    if name == "matmul":
        dtype = resolve_dtype("auto", device)  # what the hardware multiplies fastest
        left, right = (torch.randn(MATMUL, MATMUL, device=device, dtype=dtype) for _ in range(2))

        def step() -> Tensor:
            return left @ right

    else:
        step = (minlm_step if name.startswith("minlm") else peer_step)(name, shape, batch, device, path)
    while (steps := connection.recv()) > 0:
        start = time.perf_counter()
        for _ in range(steps):
            result = step()
        result.flatten()[0].item()  # waits for the device
        seconds = time.perf_counter() - start
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated()
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        connection.send((seconds, peak))


class Contestant:
    """Drives the process of one contestant."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self.name = name
        self.connection, other = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=work, args=(other, name, *arguments))
        self.process.start()
        self.seconds: list[float] = []  # for a step, in each block
        self.peak = 0

    def run(self, steps: int) -> float:
        """Seconds for a step."""
        self.connection.send(steps)
        while not self.connection.poll(1):
            if not self.process.is_alive():
                raise SystemExit(f"{self.name} failed")
        seconds, self.peak = self.connection.recv()
        return seconds / steps


def measure(names: list[str], options: argparse.Namespace, path: Path) -> list[str]:
    """The rows of the table."""
    shape = dict(SHAPES[options.shape])
    cpu_batch, cuda_batch = shape.pop("batch"), shape.pop("cuda_batch")
    batch = options.batch or (cuda_batch if options.device == "cuda" else cpu_batch)
    block = 50 if options.device == "cuda" else STEPS[options.shape]
    tokens = np.random.default_rng(0).integers(0, shape["vocab_size"], 1_000_000).astype(np.uint16)
    np.save(path, tokens)

    contestants = [Contestant(name, shape, batch, options, path) for name in [*names, "matmul"]]
    warm_up, slow = {}, []
    for contestant in contestants:
        warm_up[contestant.name] = contestant.run(1)
        contestant.seconds = [contestant.run(1)]
    fastest = min(contestant.seconds[0] for contestant in contestants[:-1])
    for contestant in contestants:
        if contestant.seconds[0] > TOO_SLOW * fastest:
            slow.append(contestant)
            continue
        matmul = contestant.name == "matmul"
        contestant.run(1 if matmul else block)
        contestant.seconds = []
    for _ in range(options.rounds):
        for contestant in contestants:
            if contestant not in slow:
                contestant.seconds.append(contestant.run(20 if contestant.name == "matmul" else block))
    for contestant in contestants:
        contestant.connection.send(0)
        contestant.process.join()

    per_step, per_token = batch * shape["context_length"], training_flops_per_token(TransformerLM(**shape))
    rate = 2 * MATMUL**3 / statistics.median(contestants[-1].seconds)
    lines = [
        f"{options.shape}: {shape}, batch {batch}, {options.device}, {options.threads} thread(s), "
        f"malloc setting {options.malloc}, {options.rounds} rounds; matmul {MATMUL}³ {rate / 1e9:,.0f} GFLOP/s",
        "",
        "| | tokens/s | range | GFLOP/s of the model | of the matmul rate | peak memory | first step |",
        "|---|---|---|---|---|---|---|",
    ]
    for contestant in contestants[:-1]:
        speeds = sorted(per_step / seconds for seconds in contestant.seconds)
        flops = statistics.median(speeds) * per_token
        share = flops / (H200_FLOPS if options.device == "cuda" else rate)
        lines.append(
            f"| {contestant.name} | {statistics.median(speeds):,.0f} | {speeds[0]:,.0f}–{speeds[-1]:,.0f} | "
            f"{flops / 1e9:,.0f} | {share:.0%} | {contestant.peak / 1e9:.2f} GB | {warm_up[contestant.name]:.0f} s |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="reference")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, help="sequences in a step (of the shape if absent)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--malloc", choices=["on", "off"], default="on", help="glibc keeps freed memory, for all")
    parser.add_argument("--contestants", nargs="+", default=CONTESTANTS, choices=CONTESTANTS)
    parser.add_argument("--output", type=Path, help="add the table to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = measure(options.contestants, options, Path(folder) / "tokens.npy")
    print("\n".join(lines))
    if options.output is not None:
        with open(options.output, "a") as handle:
            handle.write("\n".join(lines) + "\n\n")


if __name__ == "__main__":
    main()
