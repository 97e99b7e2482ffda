"""Samples: texts that a model writes for prompts and settings, and the file that holds them."""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minlm.atomic import atomic_write
from minlm.documents import SEPARATOR
from minlm.errors import MinlmError
from minlm.generation.batched import Request, generate_batch
from minlm.reading import reading
from minlm.tokenization import BPETokenizer
from minlm.transformer.model import TransformerLM

WIDTH = 80  # of the rules between samples


@dataclass
class Setting:
    """How to draw tokens: temperature, top_p and top_k, as in `batched.Request`."""

    temperature: float
    top_p: float | None
    top_k: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Setting":
        """Read "temperature:top_p" or "temperature:top_p:top_k", for example "0.7:0.9" or "1.0:none:40"."""
        try:
            temperature, top_p, top_k = (text if text.count(":") > 1 else f"{text}:none").split(":")
            return cls(float(temperature), _optional(float, top_p), _optional(int, top_k))
        except ValueError as error:
            raise MinlmError(
                f'--settings {text}: write "temperature:top_p", for example 0.7:0.9 or 1.0:none, '
                'or "temperature:top_p:top_k", for example 1.0:none:40.'
            ) from error

    def __str__(self) -> str:
        top_p = "none" if self.top_p is None else self.top_p
        top_k = "" if self.top_k is None else f", top_k {self.top_k}"
        return f"temperature {self.temperature}, top_p {top_p}{top_k}"


def _optional(kind: Callable[[str], Any], text: str) -> Any:
    return None if text == "none" else kind(text)


@dataclass
class Sample:
    """A text, prompt included, and how it was generated.

    Attributes:
        new_tokens: number of tokens after the prompt.
        ended: whether the model ended the text with `<|endoftext|>`; otherwise it reached the limit.
    """

    prompt: str
    setting: Setting
    seed: int
    text: str
    new_tokens: int
    ended: bool

    @property
    def title(self) -> str:
        """The prompt as a heading."""
        return f"“{self.prompt}”" if self.prompt else "no prompt: a new document"


def generate_samples(
    model: TransformerLM,
    tokenizer: BPETokenizer,
    prompts: Sequence[str],
    settings: Sequence[Setting],
    max_new_tokens: int,
    seed: int,
) -> list[Sample]:
    """Continue each prompt with each setting, in one batch.

    Args:
        model, tokenizer: a pair that `load.load_with_tokenizer` has checked.
        prompts: texts to continue; an empty one starts a new document.
        settings: how to draw the tokens.
        max_new_tokens: limit for each text.
        seed: seed of the first sample; the next ones have `seed + 1`, `seed + 2`, …

    Raises:
        MinlmError: there is no prompt or no setting, or as `generate_batch`.
    """
    pairs = [(prompt, setting) for prompt in prompts for setting in settings]
    if not pairs:
        raise MinlmError("nothing to write: give at least 1 prompt and 1 setting.")
    requests = [make_request(tokenizer, *pair, seed + index) for index, pair in enumerate(pairs)]
    vocab_size = max(tokenizer.vocab) + 1
    results = generate_batch(model, requests, max_new_tokens, end_of_text(tokenizer), vocab_size)
    samples = []
    for index, ((prompt, setting), ids) in enumerate(zip(pairs, results, strict=True)):
        new_tokens = len(ids) - len(requests[index].prompt_ids)
        text = tokenizer.decode(ids.tolist() if prompt else ids[1:].tolist())
        samples.append(Sample(prompt, setting, seed + index, text, new_tokens, new_tokens < max_new_tokens))
    return samples


def end_of_text(tokenizer: BPETokenizer) -> int:
    """The id of `<|endoftext|>`, which starts and ends a document."""
    return tokenizer.encode(SEPARATOR)[0]


def make_request(tokenizer: BPETokenizer, prompt: str, setting: Setting, seed: int) -> Request:
    """The request for one text; an empty prompt starts a new document."""
    prompt_ids = tokenizer.encode(prompt) or [end_of_text(tokenizer)]
    return Request(prompt_ids, setting.temperature, setting.top_p, seed, setting.top_k)


def describe_cut(model: TransformerLM, tokenizer: BPETokenizer, prompt: str) -> str:
    """A sentence about a prompt that is longer than the context, so that the model reads only its end; else ""."""
    length, context_length = len(tokenizer.encode(prompt)), model.config["context_length"]
    if length <= context_length:
        return ""
    beginning = " ".join(prompt[:30].split())
    return (
        f'The prompt "{beginning}…" has {length:,} tokens. The model reads only the last {context_length:,} of them, '
        "its context."
    )


def random_seed() -> int:
    """A random seed that is short enough to type."""
    return secrets.randbelow(10**6)


def write_samples(path: str | Path, samples: Sequence[Sample], title: str) -> None:
    """Write the samples as text: the title, then a header and the text of each."""
    with atomic_write(path) as handle:
        handle.write(f"{title}\n")
        for sample in samples:
            length = f"{sample.new_tokens} new tokens" + (", then the end" if sample.ended else "")
            text = sample.text.strip("\n")  # a new document starts with a line feed
            handle.write(
                f"\n\n{'=' * WIDTH}\n"
                f'prompt: "{sample.prompt}"\n'
                f"{sample.setting}, seed {sample.seed} ({length})\n"
                f"{'-' * WIDTH}\n{text}\n"
            )


def read_samples(path: str | Path) -> list[Sample]:
    """Read what `write_samples` wrote; white space at either end of a text is dropped.

    Raises:
        MinlmError: the file is missing or damaged.
    """
    header = re.compile(
        rf"\n\n={{{WIDTH}}}\nprompt: \"(.*?)\"\ntemperature (\S+), top_p (\S+?)(?:, top_k (\d+))?, seed (\d+) "
        rf"\((\d+) new tokens(, then the end)?\)\n-{{{WIDTH}}}\n",
        re.DOTALL,  # a prompt can have several lines
    )
    with reading(path, "a file of samples", "`python -m minlm.scripts.sample` writes one."):
        _, *fields = header.split(Path(path).read_text(encoding="utf-8"))  # 7 groups and a text for each sample
        if not fields:
            raise ValueError("it has no sample")
        samples = []
        for prompt, temperature, top_p, top_k, seed, length, ended, text in zip(*[iter(fields)] * 8, strict=True):
            setting = Setting(float(temperature), _optional(float, top_p), _optional(int, top_k or "none"))
            samples.append(Sample(prompt, setting, int(seed), text.strip(), int(length), bool(ended)))
        return samples
