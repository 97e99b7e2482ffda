"""Texts from prompts: the tokenizer in front of `generate_batch` and behind it, and a file of samples to read."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minlm.atomic import atomic_write
from minlm.documents import SEPARATOR
from minlm.errors import MinlmError
from minlm.generation.batched import Request, generate_batch
from minlm.reading import reading
from minlm.tokenization import BPETokenizer
from minlm.transformer.model import TransformerLM

WIDTH = 80  # of the rules in the file of samples


@dataclass
class Setting:
    """Temperature, nucleus and top_k, see `sampling.Request`."""

    temperature: float
    top_p: float | None
    top_k: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Setting":
        """Read "temperature:top_p" or "temperature:top_p:top_k", for example "0.7:0.9" or "1.0:none:40"."""
        try:
            temperature, top_p, top_k = [*text.split(":"), "none"][:3] if text.count(":") < 3 else []
            return cls(
                float(temperature),
                None if top_p == "none" else float(top_p),
                None if top_k == "none" else int(top_k),
            )
        except ValueError as error:
            raise MinlmError(
                f'--settings {text}: write "temperature:top_p", for example 0.7:0.9 or 1.0:none, '
                'or "temperature:top_p:top_k", for example 1.0:none:40.'
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
    drafts = [(prompt, setting) for prompt in prompts for setting in settings]
    requests = [
        Request(prompt_ids(tokenizer, prompt), setting.temperature, setting.top_p, seed + index, setting.top_k)
        for index, (prompt, setting) in enumerate(drafts)
    ]
    vocab_size = max(tokenizer.vocab) + 1
    results = generate_batch(model, requests, max_new_tokens, end_of_text(tokenizer), vocab_size)
    samples = []
    for (prompt, setting), request, ids in zip(drafts, requests, results, strict=True):
        new_tokens = len(ids) - len(request.prompt_ids)
        text = tokenizer.decode(ids.tolist() if prompt else ids[1:].tolist())
        samples.append(Sample(prompt, setting, request.seed or 0, text, new_tokens, new_tokens < max_new_tokens))
    return samples


def end_of_text(tokenizer: BPETokenizer) -> int:
    """The id of `<|endoftext|>`, before the first token of a document and behind its last."""
    return tokenizer.encode(SEPARATOR)[0]


def prompt_ids(tokenizer: BPETokenizer, prompt: str) -> list[int]:
    """The ids a text starts from; an empty prompt starts a new document."""
    return tokenizer.encode(prompt) or [end_of_text(tokenizer)]


def random_seed() -> int:
    """A seed from the operating system's randomness, short enough to type."""
    return secrets.randbelow(10**6)


def write_samples(path: str | Path, samples: Sequence[Sample], title: str) -> None:
    """Write a text file that a person reads from top to bottom: a header for each sample, then its text."""
    with atomic_write(path) as handle:
        handle.write(f"{title}\n")
        for sample in samples:
            setting = sample.setting
            top_p = "none" if setting.top_p is None else setting.top_p
            top_k = "" if setting.top_k is None else f", top_k {setting.top_k}"
            text = sample.text.strip("\n")  # a new document begins behind the separator's line end
            length = f"{sample.new_tokens} new tokens" + (", then the end" if sample.ended else "")
            handle.write(
                f"\n\n{'=' * WIDTH}\n"
                f'prompt: "{sample.prompt}"\n'
                f"temperature {setting.temperature}, top_p {top_p}{top_k}, seed {sample.seed} ({length})\n"
                f"{'-' * WIDTH}\n{text}\n"
            )


def read_samples(path: str | Path) -> list[Sample]:
    """What `write_samples` wrote; the texts without white space at their ends.

    Raises:
        MinlmError: the file is missing or is no such file.
    """
    header = re.compile(
        rf"\n\n={{{WIDTH}}}\nprompt: \"(.*?)\"\ntemperature (\S+), top_p (\S+?)(?:, top_k (\d+))?, seed (\d+) "
        rf"\((\d+) new tokens(, then the end)?\)\n-{{{WIDTH}}}\n",
        re.DOTALL,  # a prompt can have several lines
    )
    with reading(path, "a file of samples", "`python -m minlm.scripts.sample` writes one."):
        pieces = header.split(Path(path).read_text(encoding="utf-8"))[1:]
        if not pieces:
            raise ValueError("it has no sample")
        return [
            Sample(
                prompt,
                Setting(
                    float(temperature), None if top_p == "none" else float(top_p), None if top_k is None else int(top_k)
                ),
                int(seed),
                text.strip(),
                int(length),
                bool(ended),
            )
            for prompt, temperature, top_p, top_k, seed, length, ended, text in zip(*[iter(pieces)] * 8, strict=True)
        ]
