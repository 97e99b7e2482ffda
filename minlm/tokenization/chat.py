"""Conversations as tokens: a special token names the speaker of each turn, another one ends it.

    <|user|>What comes after it?<|end|><|assistant|>The next verse.<|end|>

Contents are ordinary text, also where they look like a special token.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from minlm.errors import MinlmError
from minlm.pipeline.consistency import CHAT_TOKENS
from minlm.reading import quote
from minlm.tokenization.bpe import BPETokenizer

Message = Mapping[str, str]  # "role" and "content"

ROLES = ("system", "user", "assistant")
END_OF_TURN = "<|end|>"
# The same for transformers' `apply_chat_template`, which marks what is between `generation` and `endgeneration`.
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def has_chat_tokens(tokenizer: BPETokenizer) -> bool:
    """Whether the tokenizer has all tokens of the template."""
    return set(CHAT_TOKENS) <= set(tokenizer.special_tokens)


def require_chat_tokens(tokenizer: BPETokenizer) -> None:
    """Raise `MinlmError` if the tokenizer lacks a token of the template."""
    if not has_chat_tokens(tokenizer):
        raise MinlmError(
            f"the tokenizer lacks special tokens that a chat needs, {' '.join(CHAT_TOKENS)}. Name them in "
            "tokenizer.special_tokens (--special_tokens) when it is trained."
        )


def parse_messages(conversation: Any) -> list[Message]:
    """The messages of {"messages": [{"role": …, "content": …}, …]} or of {"prompt": …, "completion": …}.

    Prompt and completion are texts, or lists of messages.

    Raises:
        ValueError: it has another form, an unknown role, an empty content or no turn of the assistant.
    """
    if not isinstance(conversation, dict) or not ("messages" in conversation or "completion" in conversation):
        raise ValueError('it must be {"messages": [{"role": "user", "content": "…"}, …]} or have prompt and completion')
    messages = conversation.get("messages")
    if messages is None:
        messages = [*_turns(conversation.get("prompt"), "user"), *_turns(conversation["completion"], "assistant")]
    if not isinstance(messages, list):
        raise ValueError(f"messages must be a list, not {quote(messages)}")
    check_messages(messages)
    if not any(message["role"] == "assistant" for message in messages):
        raise ValueError("it has no turn of the assistant, so there is nothing to learn; add one, or remove the line")
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def check_messages(messages: Sequence[Any]) -> None:
    """Raise `ValueError` if one of the messages has an unknown role or an empty content."""
    for number, message in enumerate(messages, start=1):
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if role not in ROLES or (role == "system" and number > 1):
            rule = "system can only be that of the first" if role == "system" else f"give one of {', '.join(ROLES)}"
            raise ValueError(f"message {number} has the role {quote(role)}; {rule}")
        if not isinstance(content, str) or not content.strip():
            raise ValueError(f"message {number} ({role}) has no content; write a text, or remove the message")
        content.encode()  # fails for unpaired surrogates, which JSON allows and UTF-8 does not


def _turns(turns: Any, role: str) -> list[Any]:
    return turns if isinstance(turns, list) else [{"role": role, "content": turns}]


def encode_chat(tokenizer: BPETokenizer, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
    """The ids of a conversation, and for each 1 if the assistant wrote it (its ends of turns included), else 0."""
    ids: list[int] = []
    mask: list[int] = []
    for message in messages:
        turn = [*tokenizer.encode_ordinary(message["content"]), *tokenizer.encode(END_OF_TURN)]
        ids += [*tokenizer.encode(f"<|{message['role']}|>"), *turn]
        mask += [0] + len(turn) * [int(message["role"] == "assistant")]
    return ids, mask


def encode_prompt(tokenizer: BPETokenizer, messages: Sequence[Message]) -> list[int]:
    """The ids of a conversation, and of the beginning of the assistant's next turn.

    Raises:
        MinlmError: the tokenizer lacks a token of the template.
    """
    require_chat_tokens(tokenizer)
    return [*encode_chat(tokenizer, messages)[0], *tokenizer.encode("<|assistant|>")]
