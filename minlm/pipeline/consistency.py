"""Settings that do not fit together. Every call of `snakemake` imports this module, so it imports nothing heavy."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minlm.errors import MinlmError
from minlm.globs import matching_files
from minlm.pipeline.addresses import downloads

Config = dict[str, Any]

LONGEST_PROMPTS = 500_000  # bytes of all prompts together: they are arguments of a program
MOST_PARAMETERS = 10**11
LARGEST_ID = {"uint16": 2**16, "uint32": 2**32, "int32": 2**31, "int64": 2**63}


def inconsistencies(config: Config) -> list[str]:
    """One line for each combination of values that cannot work, in a configuration whose single values are allowed."""
    training = training_problems(config["training"], config["model"]["context_length"])
    return [
        *_model_problems(config), *(f"training.{problem}" for problem in training), *_corpus_problems(config),
        *_sampling_problems(config),
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
    per_layer = 4 * d_model**2 + 3 * d_model * model["d_ff"]  # ablations may have fewer
    parameters = 2 * tokenizer["vocab_size"] * d_model + model["num_layers"] * per_layer
    if parameters > MOST_PARAMETERS:
        problems.append(
            f"model.d_model: the model would have about {parameters:,} parameters, more than {MOST_PARAMETERS:,}. "
            "Lower d_model, num_layers, d_ff or tokenizer.vocab_size."
        )
    dtype = tokenizer["output_dtype"]
    if dtype is not None and tokenizer["vocab_size"] > LARGEST_ID[dtype]:
        problems.append(
            f"tokenizer.output_dtype: {dtype} holds ids below {LARGEST_ID[dtype]:,}, too few for "
            f"vocab_size {tokenizer['vocab_size']:,}. Use null, which picks a type that fits."
        )
    return problems


def training_problems(training: Mapping[str, Any], context_length: int) -> Iterator[str]:
    """The same for the settings of a training run alone; each line begins with the name of a setting."""
    batch_size, total_tokens = training["batch_size"], training["total_tokens"]
    steps = total_tokens // (batch_size * context_length)
    if steps == 0:
        yield (
            f"total_tokens: {total_tokens:,} is less than one batch of {batch_size} × {context_length} "
            f"= {batch_size * context_length:,} tokens. Raise it, or lower batch_size or context_length."
        )
    elif training["warmup_iters"] > steps:
        yield (
            f"warmup_iters: {training['warmup_iters']:,} is longer than the run of {steps:,} steps "
            f"(total_tokens / (batch_size × context_length)). Lower it; 5 % of the run is usual."
        )
    if batch_size % training["grad_accum_steps"]:
        yield (
            f"grad_accum_steps: batch_size {batch_size:,} does not divide into {training['grad_accum_steps']:,} equal "
            "parts. Change one of them."
        )
    if training["lr_min"] > training["lr_max"]:
        yield f"lr_min: {training['lr_min']} is above lr_max {training['lr_max']}. Lower lr_min."


def _corpus_problems(config: Config) -> list[str]:
    corpus, ancients = config["corpus"], config["ancients"]
    problems = []
    if ancients["min_words"] > ancients["max_words"]:
        problems.append(
            f"ancients.min_words: {ancients['min_words']} is above max_words {ancients['max_words']}. Swap them."
        )
    source = corpus["source"]
    if source in ("files", "urls") and not corpus[source]["train"]:
        what = "no files are named. List files or globs" if source == "files" else "no addresses are named. List some"
        problems.append(f"corpus.{source}.train: source is `{source}`, but {what}.")
    if source == "urls":
        try:
            downloads([*corpus["urls"]["train"], *corpus["urls"]["valid"]])
        except MinlmError as error:
            problems.append(f"corpus.urls: {error}.")
    if source == "files":
        for split in ("train", "valid"):
            problems += _unmatched(f"corpus.files.{split}", corpus["files"][split])
    return problems


def _unmatched(key: str, patterns: Sequence[str]) -> Iterator[str]:
    for pattern in patterns:
        try:
            if not matching_files(pattern):
                yield f"{key}: no file matches {pattern!r}. Check the path."
        except MinlmError as error:
            yield f"{key}: {error}."


def _sampling_problems(config: Config) -> list[str]:
    size = sum(len(prompt.encode()) for prompt in config["sampling"]["prompts"])
    if size <= LONGEST_PROMPTS:
        return []
    return [f"sampling.prompts: {size:,} bytes, more than {LONGEST_PROMPTS:,}. Give fewer."]
