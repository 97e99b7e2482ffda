"""What does not fit together in a configuration. Imported by every call of `snakemake`, so nothing heavy."""

import glob
from typing import Any

Config = dict[str, Any]

LONGEST_PROMPTS = 500_000  # bytes in all: they are arguments of a program
MOST_PARAMETERS = 10**11
LARGEST_ID = {"uint16": 2**16, "uint32": 2**32, "int32": 2**31, "int64": 2**63}


def inconsistencies(config: Config) -> list[str]:
    """One line for each combination of values that cannot work, in a configuration whose single values can."""
    return [
        *_model_problems(config), *_training_problems(config), *_corpus_problems(config), *_sampling_problems(config),
    ]  # fmt: skip


def _model_problems(config: Config) -> list[str]:
    model, tokenizer = config["model"], config["tokenizer"]
    d_model, num_heads = model["d_model"], model["num_heads"]
    problems = []
    if d_model % num_heads:
        problems.append(
            f"model.num_heads: d_model {d_model} is not divisible by num_heads {num_heads}. Make d_model a multiple."
        )
    elif (d_model // num_heads) % 2 and not model["no_rope"]:
        problems.append(
            f"model.num_heads: RoPE needs an even head dimension, and d_model {d_model} / num_heads {num_heads} "
            f"= {d_model // num_heads} is odd. Change one of them, or set model.no_rope."
        )
    per_layer = 4 * d_model**2 + (2 if model["silu_ffn"] else 3) * d_model * model["d_ff"]
    parameters = 2 * tokenizer["vocab_size"] * d_model + model["num_layers"] * per_layer
    if parameters > MOST_PARAMETERS:
        problems.append(
            f"model.d_model: the model would have {parameters:,} parameters, more than {MOST_PARAMETERS:,}. "
            "Lower d_model, num_layers, d_ff or tokenizer.vocab_size."
        )
    dtype = tokenizer["output_dtype"]
    if dtype is not None and tokenizer["vocab_size"] > LARGEST_ID[dtype]:
        problems.append(
            f"tokenizer.output_dtype: {dtype} holds ids below {LARGEST_ID[dtype]:,}, too few for "
            f"vocab_size {tokenizer['vocab_size']:,}. Use null, which picks a type that fits."
        )
    return problems


def _training_problems(config: Config) -> list[str]:
    training, context_length = config["training"], config["model"]["context_length"]
    tokens_per_step = training["batch_size"] * context_length
    steps = training["total_tokens"] // tokens_per_step
    problems = []
    if steps == 0:
        problems.append(
            f"training.total_tokens: {training['total_tokens']:,} is less than one batch of {training['batch_size']} × "
            f"{context_length} = {tokens_per_step:,} tokens. Raise it, or lower batch_size or context_length."
        )
    elif training["warmup_iters"] > steps:
        problems.append(
            f"training.warmup_iters: {training['warmup_iters']:,} is longer than the run of {steps:,} steps "
            f"(total_tokens / (batch_size × context_length)). Lower it; 5 % of the run is usual."
        )
    if training["batch_size"] % training["grad_accum_steps"]:
        problems.append(
            f"training.grad_accum_steps: batch_size {training['batch_size']:,} does not divide into "
            f"{training['grad_accum_steps']:,} equal parts. Change one of them."
        )
    if training["lr_min"] > training["lr_max"]:
        problems.append(f"training.lr_min: {training['lr_min']} is above lr_max {training['lr_max']}. Swap them.")
    return problems


def _corpus_problems(config: Config) -> list[str]:
    corpus, ancients = config["corpus"], config["ancients"]
    problems = []
    if ancients["min_words"] > ancients["max_words"]:
        problems.append(
            f"ancients.min_words: {ancients['min_words']} is above max_words {ancients['max_words']}. Swap them."
        )
    if corpus["source"] == "files":
        if not corpus["files"]["train"]:
            problems.append("corpus.files.train: source is `files`, but no files are named. List files or globs.")
        for split in ("train", "valid"):
            for pattern in corpus["files"][split]:
                if not glob.glob(pattern, recursive=True):
                    problems.append(f"corpus.files.{split}: no file matches {pattern!r}. Check the path.")
    return problems


def _sampling_problems(config: Config) -> list[str]:
    size = sum(len(prompt.encode()) for prompt in config["sampling"]["prompts"])
    return (
        [f"sampling.prompts: {size:,} bytes, more than {LONGEST_PROMPTS:,}. Give fewer."]
        if size > LONGEST_PROMPTS
        else []
    )
