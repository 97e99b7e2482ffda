"""Settings that do not fit together. Every call of `snakemake` imports this module, so it imports nothing heavy."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minlm.documents import SEPARATOR
from minlm.errors import MinlmError
from minlm.globs import matching_files
from minlm.pipeline.addresses import downloads

Config = dict[str, Any]

LONGEST_PROMPTS = 500_000  # bytes of all prompts together: they are arguments of a program
MOST_PARAMETERS = 10**11
CHAT_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")  # of the template in minlm/tokenization/chat.py
LARGEST_ID = {"uint16": 2**16, "uint32": 2**32, "int32": 2**31, "int64": 2**63}


def inconsistencies(config: Config) -> list[str]:
    """One line for each combination of values that cannot work, in a configuration whose single values are allowed."""
    training = training_problems(config["training"], config["model"]["context_length"])
    return [
        *_checkpoint_problems(config["training"]), *_model_problems(config), *_tokenizer_problems(config["tokenizer"]),
        *(f"training.{problem}" for problem in training), *_corpus_problems(config), *_sampling_problems(config),
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


def _tokenizer_problems(tokenizer: Config) -> Iterator[str]:
    vocab_size, special_tokens = tokenizer["vocab_size"], tokenizer["special_tokens"]
    if SEPARATOR not in special_tokens or len(set(special_tokens)) < len(special_tokens):
        yield f"tokenizer.special_tokens: {SEPARATOR}, which ends each document, must be among them, and none twice."
    if vocab_size < (smallest := 256 + len(special_tokens)):
        yield f"tokenizer.vocab_size: {vocab_size} is too small for 256 bytes and the special tokens. Give {smallest}."
    if tokenizer["pattern"] not in ("gpt2", "gpt4", "marks"):
        import regex

        try:
            regex.compile(tokenizer["pattern"])
        except regex.error as error:
            yield f"tokenizer.pattern: it is none of gpt2, gpt4, marks, and no regular expression: {error}."


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
    if late := [step for step in training["keep_checkpoints"] if step > steps]:
        yield f"keep_checkpoints: step {late[0]:,} is after the last, {steps:,}. Leave it out."
    if batch_size % training["grad_accum_steps"]:
        yield (
            f"grad_accum_steps: batch_size {batch_size:,} does not divide into {training['grad_accum_steps']:,} equal "
            "parts. Change one of them."
        )
    if training["lr_min"] > training["lr_max"]:
        yield f"lr_min: {training['lr_min']} is above lr_max {training['lr_max']}. Lower lr_min."


def _checkpoint_problems(training: Mapping[str, Any]) -> list[str]:
    used, kept = training["use_checkpoint"], [str(step) for step in training["keep_checkpoints"]]
    if used == "best" and not training["keep_best"]:
        return ["training.use_checkpoint: `best` is not kept. Set training.keep_best."]
    if used.isdigit() and used not in kept:
        return [f"training.use_checkpoint: step {used} is not kept. Add it to training.keep_checkpoints."]
    return []


def _corpus_problems(config: Config) -> list[str]:
    corpus, ancients = config["corpus"], config["ancients"]
    problems = []
    if ancients["min_words"] > ancients["max_words"]:
        problems.append(
            f"ancients.min_words: {ancients['min_words']} is above max_words {ancients['max_words']}. Swap them."
        )
    source = corpus["source"]
    if source in ("files", "urls", "chat") and not corpus[source]["train"]:
        what = "no addresses are named. List some" if source == "urls" else "no files are named. List files or globs"
        problems.append(f"corpus.{source}.train: source is `{source}`, but {what}.")
    if source == "urls":
        try:
            downloads([*corpus["urls"]["train"], *corpus["urls"]["valid"]])
        except MinlmError as error:
            problems.append(f"corpus.urls: {error}.")
    if source in ("files", "chat"):
        for split in ("train", "valid"):
            problems += _unmatched(f"corpus.{source}.{split}", corpus[source][split])
    if source == "chat":
        if missing := [token for token in CHAT_TOKENS if token not in config["tokenizer"]["special_tokens"]]:
            problems.append(f"tokenizer.special_tokens: conversations need {' '.join(missing)}, too. Add them.")
        if ancients["share"] > 0 or corpus["target_total_words"] is not None or config["tokenizer"]["shards"] > 1:
            problems.append(
                "corpus.source: conversations cannot be mixed or divided. Remove ancients.share, "
                "corpus.target_total_words and tokenizer.shards."
            )
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
