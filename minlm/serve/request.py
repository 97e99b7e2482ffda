"""The request of a browser for a text: its settings, their limits, and an error for anything else."""

import json
from dataclasses import dataclass, field, fields
from typing import Any

from minlm.errors import MinlmError
from minlm.generation.samples_file import random_seed

MAX_PROMPT_CHARACTERS = 10_000
MAX_BODY_BYTES = 128 * 1024  # a character can take 12 bytes in JSON
MAX_NEW_TOKENS = 2_000
MAX_TEMPERATURE = 2
MAX_SEED = 2**53 - 1  # the largest integer that JavaScript represents exactly


@dataclass(frozen=True)
class TextRequest:
    """A text to write. The attributes have the names of `nlm-generate`'s flags.

    Attributes:
        prompt: text to continue; an empty one starts a new document.
        temperature: from 0 (always the most probable token) to `MAX_TEMPERATURE`.
        top_p: above 0; 1 draws from all tokens.
        max_tokens: limit for the number of new tokens, from 1 to `MAX_NEW_TOKENS`.
        seed: from 0 to `MAX_SEED`; random by default.
    """

    prompt: str = ""
    temperature: float = 0.8
    top_p: float = 0.95
    max_tokens: int = 200
    seed: int = field(default_factory=random_seed)


def parse(body: bytes) -> TextRequest:
    """Read a request from a JSON object with the attributes of `TextRequest`; those left out have their defaults.

    Raises:
        MinlmError: it is not a JSON object, a name is unknown, or a value has the wrong type or is out of range.
    """
    try:
        values = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise MinlmError("the request must be JSON in UTF-8.") from None
    if not isinstance(values, dict):
        raise MinlmError('the request must be a JSON object such as {"prompt": "In those days"}.')
    names = [each.name for each in fields(TextRequest)]
    if unknown := [name for name in values if name not in names]:
        raise MinlmError(f"there is no setting {unknown[0][:50]!a}, only {', '.join(names)}.")
    request = TextRequest(**values)
    _check_prompt(request.prompt)
    _check_number("temperature", request.temperature, 0, MAX_TEMPERATURE)
    _check_number("top_p", request.top_p, 0, 1)
    if request.top_p == 0:
        raise MinlmError("top_p must be above 0; 1 draws from all tokens.")
    _check_number("max_tokens", request.max_tokens, 1, MAX_NEW_TOKENS, whole=True)
    _check_number("seed", request.seed, 0, MAX_SEED, whole=True)
    return request


def _check_prompt(prompt: Any) -> None:
    if not isinstance(prompt, str):
        raise MinlmError("prompt must be a string.")
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise MinlmError(f"prompt has {len(prompt):,} characters; at most {MAX_PROMPT_CHARACTERS:,} are allowed.")
    if any("\ud800" <= character <= "\udfff" for character in prompt):
        raise MinlmError("prompt holds half of a surrogate pair, which is not a character.")


def _check_number(name: str, value: Any, low: float, high: float, whole: bool = False) -> None:
    right_type = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not right_type or not low <= value <= high:  # NaN is in no range
        kind = "a whole number" if whole else "a number"
        raise MinlmError(f"{name} must be {kind} from {low:,} to {high:,}.")
