"""A browser's request for a text: its settings, their ranges, and an error for anything else."""

import json
from dataclasses import dataclass, field
from typing import Any

from minlm.errors import MinlmError
from minlm.generation.samples_file import random_seed
from minlm.pipeline.settings import Schema, describe_type, fits
from minlm.tokenization.chat import Message, check_messages

MAX_PROMPT_CHARACTERS = 10_000
MAX_BODY_BYTES = 128 * 1024  # a character can take 12 bytes in JSON
RANGES: dict[str, Schema] = {
    "prompt": {"type": "string"},
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "max_tokens": {"type": "integer", "minimum": 1, "maximum": 2_000},
    "seed": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},  # JavaScript's largest exact integer
    "messages": {"type": "array"},
}


@dataclass(frozen=True)
class TextRequest:
    """A text to write. The attributes have the names of `nlm-generate`'s flags and are in `RANGES`.

    Attributes:
        prompt: text to continue; an empty one starts a new document.
        temperature: 0 always takes the most probable token.
        top_p: 1 draws from all tokens.
        max_tokens: limit for the number of new tokens.
        seed: of the random numbers; random by default.
        messages: a conversation, whose next turn is written instead; see `chat.check_messages`.
    """

    prompt: str = ""
    temperature: float = 0.8
    top_p: float = 0.95
    max_tokens: int = 200
    seed: int = field(default_factory=random_seed)
    messages: list[Message] = field(default_factory=list)


def parse(body: bytes) -> TextRequest:
    """Read a request from a JSON object with attributes of `TextRequest`; the others have their defaults.

    Raises:
        MinlmError: it is not a JSON object, a name is unknown, or a value has the wrong type or is out of range.
    """
    values = read_object(body)
    for name, value in values.items():
        if name not in RANGES:
            raise MinlmError(f"there is no setting {name[:50]!a}, only {', '.join(RANGES)}.")
        if not fits(value, RANGES[name]):
            raise MinlmError(f"{name} must be {describe_type(RANGES[name])}.")
    request = TextRequest(**values)
    check_prompt(request.prompt)
    try:
        check_messages(request.messages)
    except ValueError as error:
        raise MinlmError(f"{error}.") from None
    return request


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a request has for a body; raises `MinlmError` if it is none."""
    try:
        values: Any = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise MinlmError("the request must be JSON in UTF-8.") from None
    if not isinstance(values, dict):
        raise MinlmError('the request must be a JSON object such as {"prompt": "In those days"}.')
    return values


def check_prompt(prompt: str) -> None:
    """Raise `MinlmError` for a prompt that is too long or no text."""
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise MinlmError(f"prompt has {len(prompt):,} characters; {MAX_PROMPT_CHARACTERS:,} are allowed.")
    if any("\ud800" <= character <= "\udfff" for character in prompt):
        raise MinlmError("prompt holds half of a surrogate pair, which is not a character.")
