"""Texts from prompts: the tokenizer in front of `generate_batch` and behind it, and a file of samples to read."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minlm.corpus.documents import SEPARATOR
from minlm.errors import MinlmError
from minlm.files import atomic_write
from minlm.tokenization import BPETokenizer
from minlm.transformer.model import TransformerLM
from minlm.transformer.sampling import Request, generate_batch

WIDTH = 80  # of the rules in the file of samples


@dataclass
class Setting:
    """Temperature and nucleus, see `sampling.Request`."""

    temperature: float
    top_p: float | None

    @classmethod
    def parse(cls, text: str) -> "Setting":
        """Read "temperature:top_p", for example "0.7:0.9" or "1.0:none"."""
        temperature, _, top_p = text.partition(":")
        try:
            return cls(float(temperature), None if top_p == "none" else float(top_p))
        except ValueError as error:
            raise MinlmError(
                f'--settings {text}: write "temperature:top_p", for example 0.7:0.9 or 1.0:none.'
            ) from error


@dataclass
class Sample:
    """A text, the prompt included, and how it came about."""

    prompt: str
    setting: Setting
    seed: int
    text: str
    new_tokens: int
    ended: bool  # by `<|endoftext|>`, not by the limit


def generate_samples(
    model: TransformerLM,
    tokenizer: BPETokenizer,
    prompts: Sequence[str],
    settings: Sequence[Setting],
    max_new_tokens: int,
    seed: int,
) -> list[Sample]:
    """Continue each prompt with each setting, all in one batch.

    The first sample has the seed `seed`, the next `seed + 1` and so on. An empty prompt starts a new document.
    """
    if not prompts or not settings:
        raise MinlmError("nothing to write: give at least 1 prompt and 1 setting.")
    end_of_text = tokenizer.encode(SEPARATOR)[0]
    drafts = [(prompt, setting) for prompt in prompts for setting in settings]
    requests = [
        Request(tokenizer.encode(prompt) or [end_of_text], setting.temperature, setting.top_p, seed + index)
        for index, (prompt, setting) in enumerate(drafts)
    ]
    results = generate_batch(model, requests, max_new_tokens, end_of_text, vocab_size=max(tokenizer.vocab) + 1)
    samples = []
    for (prompt, setting), request, ids in zip(drafts, requests, results, strict=True):
        new_tokens = len(ids) - len(request.prompt_ids)
        text = tokenizer.decode(ids.tolist() if prompt else ids[1:].tolist())
        samples.append(Sample(prompt, setting, request.seed or 0, text, new_tokens, new_tokens < max_new_tokens))
    return samples


def random_seed() -> int:
    """A seed from the operating system's randomness, short enough to type."""
    return secrets.randbelow(10**6)


def write_samples(path: str | Path, samples: Sequence[Sample], title: str) -> None:
    """Write a text file that a person reads from top to bottom: a header for each sample, then its text."""
    with atomic_write(path) as handle:
        handle.write(f"{title}\n")
        for sample in samples:
            top_p = "none" if sample.setting.top_p is None else sample.setting.top_p
            text = sample.text.strip("\n")  # a new document begins behind the separator's line end
            length = f"{sample.new_tokens} new tokens" + (", then the end" if sample.ended else "")
            handle.write(
                f"\n\n{'=' * WIDTH}\n"
                f'prompt: "{sample.prompt}"\n'
                f"temperature {sample.setting.temperature}, top_p {top_p}, seed {sample.seed} ({length})\n"
                f"{'-' * WIDTH}\n{text}\n"
            )
