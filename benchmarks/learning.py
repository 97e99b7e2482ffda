"""How much a model learns in a given time: minlm's recipe against its former one, Llama, nanoGPT's and nanochat's.

    python benchmarks/learning.py [--folder FOLDER] [--recipes minlm Llama ...] [--seconds 240] [--seeds 3] [--short]
    python benchmarks/learning.py --train train.txt --valid valid.txt --shape 4096 128 16 256 4 8 704 --folder OTHER

Each recipe trains the same shape on the same tokens for the same CPU time on one thread, the bigram fit included and
validation not. Its schedule ends there: the time of its steps gives their number; it is measured before anything is
trained, all recipes taking turns. `--short` takes 60 seconds and one seed, about 8 minutes in all; `--lr` replaces the
peak learning rate, to tune it. Each run is a line of FOLDER/results.jsonl, and --plot draws FOLDER/learning.png.
"""

import argparse
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from learning_recipes import RECIPES, Recipe, Shape

from minlm.corpus.bible import write_sample
from minlm.fast.memory import keep_freed_memory
from minlm.fast.transformer import gradient_clipping
from minlm.scripts import tokenize, train_tokenizer
from minlm.tokenization import BPETokenizer
from minlm.training.evaluation import text_bytes
from minlm.transformer.data import evaluation_batches

MEASURED, ROUNDS = 5, 6  # steps and rounds, to find out how many steps fit into the time
VALIDATIONS = 10


def prepare(folder: Path, vocab_size: int, texts: list[str]) -> tuple[np.ndarray, np.ndarray, int]:
    """Training tokens, validation tokens and the bytes of the latter's text; without `texts`, of the sample corpus."""
    names = texts or [str(folder / f"{name}.txt") for name in ("train", "valid")]
    vocabulary = ["--vocab_path", str(folder / "vocab.json"), "--merges_path", str(folder / "merges.txt")]
    if not (folder / "valid.npy").exists():
        if not texts:
            write_sample(*names)
        train_tokenizer.main([names[0], "--vocab_size", str(vocab_size), "--output_dir", str(folder), "--prefix", ""])
        tokenize.main(["--inputs", *names, *vocabulary, "--output_dir", str(folder)])
    tokenizer = BPETokenizer.from_files(folder / "vocab.json", folder / "merges.txt", ["<|endoftext|>"])
    train, valid = (np.load(folder / f"{name}.npy") for name in ("train", "valid"))
    return train, valid, text_bytes(valid, tokenizer)


def train_step(recipe: Recipe, tokens: np.ndarray, dtype: torch.dtype, seed: int, step: int, steps: int) -> None:
    """One batch, one update."""
    factor = recipe.schedule(step, steps)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        loss = recipe.loss(*recipe.batch(tokens, seed, step))
    loss.backward()
    gradient_clipping(recipe.model.parameters(), recipe.clip)
    for optimizer in recipe.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("peak", group["lr"]) * factor
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def bits_per_byte(recipe: Recipe, tokens: np.ndarray, dtype: torch.dtype, num_bytes: int) -> float:
    """Loss on all validation tokens."""
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        batches = evaluation_batches(tokens, 32, recipe.shape.context)
        nats = sum(recipe.loss(inputs, targets).item() * targets.numel() for inputs, targets in batches)
    return nats / math.log(2) / num_bytes


def seconds_per_step(names: list[str], train: np.ndarray, shape: Shape, dtype: torch.dtype) -> dict[str, float]:
    """CPU time of a step of each recipe: the least of several rounds in which all take turns."""
    recipes = {name: RECIPES[name](train, shape) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name, recipe in recipes.items():
            train_step(recipe, train, dtype, 0, 0, 1000)
            before = time.process_time()
            for step in range(MEASURED):
                train_step(recipe, train, dtype, 0, step, 1000)
            times[name].append((time.process_time() - before) / MEASURED)
    return {name: min(seconds) for name, seconds in times.items()}


def run(
    name: str, data: tuple[np.ndarray, np.ndarray, int], shape: Shape, dtype: torch.dtype, seconds: float,
    per_step: float, seed: int, **lr: float,
) -> dict[str, Any]:  # fmt: skip
    """Train by a recipe for `seconds` of CPU time, `per_step` each step; what came out."""
    train, valid, num_bytes = data
    torch.manual_seed(seed)
    started = time.process_time()
    recipe = RECIPES[name](train, shape, **lr)
    setup = time.process_time() - started
    steps = max(VALIDATIONS, round((seconds - setup) / per_step))
    curve = []
    for step in range(steps):
        train_step(recipe, train, dtype, seed, step, steps)
        if (step + 1) * VALIDATIONS // steps > step * VALIDATIONS // steps:
            seen = (step + 1) * shape.batch * shape.context
            bits = bits_per_byte(recipe, valid, dtype, num_bytes)
            curve.append((round(setup + (step + 1) * per_step, 1), seen, round(bits, 4)))
    parameters = sum(weight.numel() for weight in recipe.model.parameters())
    return {"recipe": name, "seed": seed, "parameters": parameters, "steps": steps, **lr, "curve": curve}


def table(results: list[dict[str, Any]]) -> str:
    """Mean and standard deviation of the final loss of each recipe."""
    lines = ["| recipe | parameters | steps | CPU s | bits/byte |", "|---|---|---|---|---|"]
    for key in dict.fromkeys((result["recipe"], result.get("lr")) for result in results):
        runs = [result for result in results if (result["recipe"], result.get("lr")) == key]
        ends = [result["curve"][-1] for result in runs]
        losses = [bits for _, _, bits in ends]
        spread = f" ± {statistics.stdev(losses):.4f} ({len(losses)} seeds)" if len(losses) > 1 else ""
        name = key[0] if key[1] is None else f"{key[0]}, lr {key[1]}"
        seconds = statistics.mean(seconds for seconds, _, _ in ends)
        lines.append(
            f"| {name} | {runs[0]['parameters']:,} | {runs[0]['steps']:,} | {seconds:.0f} "
            f"| {statistics.mean(losses):.4f}{spread} |"
        )
    return "\n".join(lines)


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Loss against time and against tokens, the first seed of each recipe."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for name in dict.fromkeys(result["recipe"] for result in results):
        curve = next(result["curve"] for result in results if result["recipe"] == name)
        for axis, place in zip(axes, (0, 1), strict=True):
            axis.plot([point[place] for point in curve], [bits for _, _, bits in curve], label=name)
    axes[0].set(xlabel="CPU seconds on one thread", ylabel="validation loss, bits per byte")
    axes[1].set(xlabel="tokens seen")
    axes[1].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/learning"))
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", help="training text; by default, the sample corpus")
    parser.add_argument("--valid", help="its validation text")
    parser.add_argument(
        "--shape", type=int, nargs=7, default=[3072, 96, 8, 192, 2, 4, 512], metavar="N",
        help="vocab_size, context, batch, width, layers, heads, hidden (default: those of the default run)",
    )  # fmt: skip
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="autocast, for all recipes")
    parser.add_argument("--lr", type=float, help="peak learning rate, to tune one recipe")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--plot", action="store_true", help="only draw and print what is in the folder")
    return parser


def main() -> None:
    """Run the recipes, one after the other."""
    arguments = build_parser().parse_args()
    if arguments.short:
        arguments.seconds, arguments.seeds = 60, 1
    shape, dtype = Shape(*arguments.shape), getattr(torch, arguments.dtype)

    torch.set_num_threads(1)
    keep_freed_memory()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    log = arguments.folder / "results.jsonl"
    if not arguments.plot:
        texts = [arguments.train, arguments.valid] if arguments.train else []
        data = prepare(arguments.folder, shape.vocab_size, texts)
        lr = {} if arguments.lr is None else {"lr": arguments.lr}
        per_step = seconds_per_step(arguments.recipes, data[0], shape, dtype)
        print({name: f"{1000 * seconds:.1f} ms" for name, seconds in per_step.items()}, flush=True)
        for seed in range(arguments.seeds):
            for name in arguments.recipes:
                result = run(name, data, shape, dtype, arguments.seconds, per_step[name], seed, **lr)
                print(f"{name}, seed {seed}: {result['curve'][-1][2]:.4f} bits/byte", flush=True)
                with open(log, "a") as handle:
                    handle.write(json.dumps(result) + "\n")
    results = [json.loads(line) for line in log.read_text().splitlines()]
    print(table(results))
    plot(results, arguments.folder / "learning.png")


if __name__ == "__main__":
    main()
