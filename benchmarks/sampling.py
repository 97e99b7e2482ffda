"""Tokens per second of generation with a key/value cache: minlm's against transformers' Llama with the same weights.

    python benchmarks/sampling.py [--threads 1] [--new_tokens 100] [--rounds 7]

Both write as many new tokens to the same prompts with the same temperature and nucleus; the rounds alternate. The
shape is that of the reference run. The weights are random, with the output layer scaled so that the nucleus is about
as large as that of a trained model (its size is printed); `--scale 1` leaves it as large as half the vocabulary.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from minlm.export.llama import llama_config, llama_weights
from minlm.fast.transformer import TransformerLM
from minlm.generation.batched import Request, generate_batch
from minlm.generation.load import prepare_for_generation

TEMPERATURE, TOP_P = 0.8, 0.9
SHAPE = {"vocab_size": 10000, "context_length": 256, "d_model": 512, "num_layers": 4, "num_heads": 16, "d_ff": 1344}
RAGGED = [3, 5, 8, 8, 12, 15, 20, 24, 30, 31, 40, 47, 55, 64, 80, 100]  # lengths of the 16 prompts


def make_models(scale: float) -> tuple[TransformerLM, LlamaForCausalLM]:
    torch.manual_seed(0)
    model = TransformerLM(**SHAPE, flash_attention=True)
    with torch.no_grad():
        model.lm_head.weight *= scale
    llama = LlamaForCausalLM(LlamaConfig(**llama_config(model))).eval()
    llama.load_state_dict(llama_weights(model))
    return prepare_for_generation(model), llama


def make_prompts(lengths: list[int]) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(SHAPE["vocab_size"], (length,), generator=generator).tolist() for length in lengths]


def run_minlm(model: TransformerLM, prompts: list[list[int]], new_tokens: int) -> int:
    requests = [Request(prompt, TEMPERATURE, TOP_P, seed) for seed, prompt in enumerate(prompts)]
    texts = generate_batch(model, requests, new_tokens)
    return sum(len(text) - len(prompt) for text, prompt in zip(texts, prompts, strict=True))


def run_transformers(llama: LlamaForCausalLM, prompts: list[list[int]], new_tokens: int) -> int:
    longest = max(map(len, prompts))
    padded = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    torch.manual_seed(0)
    texts = llama.generate(
        padded, attention_mask=mask, do_sample=True, temperature=TEMPERATURE, top_p=TOP_P, top_k=0,
        min_new_tokens=new_tokens, max_new_tokens=new_tokens, pad_token_id=0, eos_token_id=None,
    )  # fmt: skip
    return (texts.shape[1] - longest) * len(prompts)


def nucleus_size(model: TransformerLM, prompts: list[list[int]]) -> float:
    with torch.inference_mode():
        logits = torch.stack([model(torch.tensor([prompt]))[0, -1] for prompt in prompts])
    line = (logits / TEMPERATURE).softmax(-1).sort(descending=True).values.cumsum(-1)
    return float(((line < TOP_P).sum(-1) + 1).float().median())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--new_tokens", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scale", type=float, default=8.0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, llama = make_models(arguments.scale)
    print(f"{SHAPE}, {arguments.threads} thread(s), temperature {TEMPERATURE}, top_p {TOP_P}, scale {arguments.scale}")
    for title, prompts in {"1 prompt": make_prompts([20]), "16 ragged prompts": make_prompts(RAGGED)}.items():
        runs: dict[str, Callable[[], int]] = {
            "minlm": lambda p=prompts: run_minlm(model, p, arguments.new_tokens),
            "transformers": lambda p=prompts: run_transformers(llama, p, arguments.new_tokens),
        }
        rates: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(arguments.rounds + 1):  # the first round warms up
            for name, run in runs.items():
                start = time.perf_counter()
                count = run()
                if number > 0:
                    rates[name].append(count / (time.perf_counter() - start))
        size = nucleus_size(model, prompts)
        print(f"\n{title}, {arguments.new_tokens} new tokens each, nucleus of about {size:.0f} tokens")
        for name, values in rates.items():
            print(f"  {name:13} median {statistics.median(values):6.1f} tokens/s, {min(values):.1f}–{max(values):.1f}")
        ratios = [ours / theirs for ours, theirs in zip(rates["minlm"], rates["transformers"], strict=True)]
        print(f"  ratio         median {statistics.median(ratios):.2f}, {min(ratios):.2f}–{max(ratios):.2f}")


if __name__ == "__main__":
    main()
