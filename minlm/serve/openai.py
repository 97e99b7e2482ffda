"""OpenAI's protocol for completions and chats: requests, answers and errors of the addresses below /v1.

The reference is https://platform.openai.com/docs/api-reference. A setting that it has and this server lacks
is refused, unless its value says that it is off.
"""

import codecs
import json
import math
import secrets
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from minlm.errors import MinlmError
from minlm.generation.batched import Request, StreamedToken
from minlm.generation.samples_file import end_of_text, random_seed
from minlm.generation.shared import NUM_ALTERNATIVES, SharedModel
from minlm.pipeline.settings import Schema, describe_type, fits
from minlm.serve import request as page
from minlm.serve.request import check_prompt, read_object
from minlm.tokenization import BPETokenizer
from minlm.tokenization.chat import END_OF_TURN, check_messages, encode_prompt

MODEL = "minlm"  # its name in the protocol
MAX_TEXTS = 16  # of one request
LONGEST_STOP = 200  # characters
CHAT_TOKENS = 256  # of an answer, if the request does not say
RANGES: dict[str, Schema] = {
    "model": {"enum": [MODEL]},
    "prompt": {"type": ["string", "array"]},
    "max_tokens": page.RANGES["max_tokens"] | {"minimum": 0},
    **{name: page.RANGES[name] for name in ("temperature", "top_p", "seed")},
    "n": {"type": "integer", "minimum": 1, "maximum": MAX_TEXTS},
    "logprobs": {"type": "integer", "minimum": 0, "maximum": NUM_ALTERNATIVES},
    "stop": {"type": ["string", "array"]},
    "echo": {"type": "boolean"},
    "stream": {"type": "boolean"},
    "stream_options": {"type": "object"},
    "user": {"type": "string"},
}
CHAT_RANGES = {name: schema for name, schema in RANGES.items() if name not in ("prompt", "logprobs", "echo")}
CHAT_RANGES |= {"messages": {"type": "array"}, "max_completion_tokens": RANGES["max_tokens"]}
OFF = {"logprobs": False, "best_of": 1, "frequency_penalty": 0, "presence_penalty": 0, "logit_bias": {}, "suffix": ""}

Json = dict[str, Any]


@dataclass(frozen=True)
class Completion:
    """A request. The attributes have the protocol's names and meanings, except `prompts`: the token ids of each."""

    prompts: list[list[int]]
    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = field(default_factory=random_seed)
    n: int = 1
    logprobs: int | None = None
    stop: Sequence[str] = ()
    echo: bool = False
    stream: bool = False
    stream_options: Json = field(default_factory=dict)
    chat: bool = False


def parse(body: bytes, tokenizer: BPETokenizer, chat: bool = False) -> Completion:
    """Read the body of a request; with `chat`, one for the next turn of a conversation.

    Raises:
        MinlmError: it is not a JSON object, a setting is unknown, a value has the wrong type or is out of range, or the
            tokenizer has no tokens for a chat.
    """
    ranges = CHAT_RANGES if chat else RANGES
    values = {name: value for name, value in read_object(body).items() if value is not None}
    for name, value in list(values.items()):
        if name in OFF and name not in ranges:
            if values.pop(name) != OFF[name]:
                raise MinlmError(f"this server has no {name} here; leave it out.")
        elif name not in ranges:
            raise MinlmError(f"there is no setting {name[:50]!a}, only {', '.join(ranges)}.")
        elif not fits(value, ranges[name]):
            raise MinlmError(f"{name} must be {describe_type(ranges[name])}.")
    for name in ("model", "user"):
        values.pop(name, None)
    stop = values.pop("stop", [])
    stop = [stop] if isinstance(stop, str) else stop
    if len(stop) > 4 or not all(isinstance(text, str) and 0 < len(text) <= LONGEST_STOP for text in stop):
        raise MinlmError(f"stop must be a text or up to 4 texts of 1 to {LONGEST_STOP} characters.")
    if chat:
        most = values.pop("max_completion_tokens", CHAT_TOKENS)
        values = {"max_tokens": most, **values, "chat": True}
        prompts, stop = [_conversation(values.pop("messages", []), tokenizer)], [*stop, END_OF_TURN]
    else:
        prompts = _prompts(values.pop("prompt", ""), tokenizer)
    completion = Completion(prompts, stop=stop, **values)
    if not 1 <= (count := len(completion.prompts) * completion.n) <= MAX_TEXTS:
        raise MinlmError(f"a request may ask for 1 to {MAX_TEXTS} texts (prompts × n), not {count}.")
    return completion


def _prompts(prompt: Any, tokenizer: BPETokenizer) -> list[list[int]]:
    """The token ids of a prompt: a text, ids, or a list of either. An empty one starts a document."""
    if isinstance(prompt, str) or (prompt and isinstance(prompt[0], int)):
        prompt = [prompt]
    prompts = []
    for one in prompt[: MAX_TEXTS + 1]:
        if isinstance(one, str):
            check_prompt(one)
            one = tokenizer.encode(one)
        elif not isinstance(one, list) or not all(type(index) is int and index in tokenizer.vocab for index in one):
            raise MinlmError("prompt must be a text, a list of the tokenizer's token ids, or a list of such prompts.")
        prompts.append(one or [end_of_text(tokenizer)])
    return prompts


def _conversation(messages: list[Any], tokenizer: BPETokenizer) -> list[int]:
    """The token ids of a conversation and of the beginning of its next turn."""
    try:
        check_messages(messages)
    except ValueError as error:
        raise MinlmError(f"{error}.") from None
    check_prompt("".join(message["content"] for message in messages))
    if not messages or messages[-1]["role"] != "user":
        raise MinlmError("messages must end with one of the user.")
    return encode_prompt(tokenizer, messages)


def answer(completion: Completion, shared: SharedModel, tokenizer: BPETokenizer) -> Generator[bytes, None, None]:
    """Yield the answer as it grows; b"" says that there was a step with nothing to send."""
    kind = (
        ("chat.completion.chunk" if completion.stream else "chat.completion") if completion.chat else "text_completion"
    )
    base = {"id": f"cmpl-{secrets.token_hex(12)}", "object": kind, "created": int(time.time()), "model": MODEL}
    parts, tokens = [], 0
    for index, token_count, part in _parts(completion, shared, tokenizer):
        tokens += token_count
        if completion.stream and (part["text"] or part["logprobs"] or part["finish_reason"]):
            yield event({**base, "choices": [_choice({"index": index, **part}, completion)]})
        else:
            yield b""
            parts.append((index, part))
    prompt_tokens = sum(map(len, completion.prompts))
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": tokens, "total_tokens": prompt_tokens + tokens}
    if not completion.stream:
        count = len(completion.prompts) * completion.n
        choices = [_joined(index, [part for other, part in parts if other == index]) for index in range(count)]
        choices = [_choice(choice, completion) for choice in choices]
        yield json.dumps({**base, "choices": choices, "usage": usage}).encode()
        return
    if completion.stream_options.get("include_usage"):
        yield event({**base, "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def event(value: Json) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def models() -> Json:
    """The answer of /v1/models."""
    return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "minlm"}]}


def error(status: HTTPStatus, message: str) -> Json:
    """An error in the protocol's form."""
    kind = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _choice(choice: Json, completion: Completion) -> Json:
    """A choice as the protocol has it: of a chat, the text is a message or, in a stream, what is new in one."""
    if not completion.chat:
        return choice
    message = {"role": "assistant", "content": choice.pop("text")}
    return {**choice, "delta" if completion.stream else "message": message}


def _joined(index: int, parts: list[Json]) -> Json:
    """One choice of an answer from its parts."""
    lists = [part["logprobs"] for part in parts if part["logprobs"]]
    logprobs = {name: [value for each in lists for value in each[name]] for name in lists[0]} if lists else None
    text = "".join(part["text"] for part in parts)
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": parts[-1]["finish_reason"]}


def _parts(completion: Completion, shared: SharedModel, tokenizer: BPETokenizer) -> Iterator[tuple[int, int, Json]]:
    """Yield parts of choices: the choice's number, the number of new tokens, and the part without its number."""
    prompts = [prompt for prompt in completion.prompts for _ in range(completion.n)]
    choices = [_Choice(completion, tokenizer, shared.stop_token) for _ in prompts]
    if completion.echo:
        for index, (prompt, choice) in enumerate(zip(prompts, choices, strict=True)):
            scored = shared.score(prompt) if completion.logprobs is not None else []
            yield index, 0, choice.echo(prompt, scored)
    requests = [
        Request(prompt, completion.temperature, completion.top_p, completion.seed + index)
        for index, prompt in enumerate(prompts)
    ]
    with shared.texts(requests, completion.max_tokens) as texts:
        for index, token in texts:
            if not choices[index].finish_reason:
                yield index, 1, choices[index].take(token)
                if choices[index].finish_reason:
                    texts.end(index)
    for index, choice in enumerate(choices):
        if not choice.finish_reason:
            yield index, 0, choice.finish("length")


class _Choice:
    """One text of an answer: it holds back what may be the beginning of a stop text or of a character."""

    finish_reason: str | None = None

    def __init__(self, completion: Completion, tokenizer: BPETokenizer, stop_token: int | None):
        self.completion, self.tokenizer, self.stop_token = completion, tokenizer, stop_token
        self.decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.held = ""
        self.sent = 0  # characters, those of an echoed prompt included
        self.tokens: list[tuple[int, int, StreamedToken | None]] = []  # not sent: where the text begins, id, details

    def echo(self, prompt: Sequence[int], scored: Sequence[StreamedToken]) -> Json:
        """The prompt; `scored` has the details of its tokens after the first, or nothing."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for index, token in enumerate(prompt):
            if self.completion.logprobs is not None:
                self.tokens.append((len(self.held), token, scored[index - 1] if index else None))
            self.held += decoder.decode(self.tokenizer.decode_bytes([token]))
        self.held += decoder.decode(b"", final=True)
        return self._part(len(self.held))

    def take(self, token: StreamedToken) -> Json:
        """What can be sent after the next token."""
        if self.completion.logprobs is not None:
            self.tokens.append((self.sent + len(self.held), token.token, token))
        if token.token == self.stop_token:
            return self.finish("stop")
        self.held += self.decoder.decode(self.tokenizer.decode_bytes([token.token]))
        if (place := self._stop()) is not None:
            self.finish_reason = "stop"
            self.tokens = [entry for entry in self.tokens if entry[0] < self.sent + place]
            return self._part(place)
        begun = (
            length
            for stop in self.completion.stop
            for length in range(1, min(len(stop), len(self.held) + 1))
            if self.held.endswith(stop[:length])
        )
        return self._part(len(self.held) - max(begun, default=0))

    def finish(self, reason: str) -> Json:
        """The rest."""
        self.held += self.decoder.decode(b"", final=True)
        self.finish_reason = reason
        return self._part(len(self.held))

    def _stop(self) -> int | None:
        places = [self.held.find(stop) for stop in self.completion.stop]
        return min((place for place in places if place >= 0), default=None)

    def _part(self, length: int) -> Json:
        """The first characters of what is held, with their tokens."""
        text, self.held = self.held[:length], self.held[length:]
        self.sent += length
        ready = [entry for entry in self.tokens if self.finish_reason or entry[0] < self.sent]
        self.tokens = self.tokens[len(ready) :]
        return {"text": text, "logprobs": self._logprobs(ready), "finish_reason": self.finish_reason}

    def _logprobs(self, entries: list[tuple[int, int, StreamedToken | None]]) -> Json | None:
        if not entries:
            return None
        return {
            "tokens": [self._spell(token) for _, token, _ in entries],
            "token_logprobs": [details and _log(details.probability) for _, _, details in entries],
            "top_logprobs": [details and self._top(details) for _, _, details in entries],
            "text_offset": [offset for offset, _, _ in entries],
        }

    def _top(self, details: StreamedToken) -> dict[str, float]:
        best = details.alternatives[: self.completion.logprobs]
        return {self._spell(token): _log(chance) for token, chance in [*best, (details.token, details.probability)]}

    def _spell(self, token: int) -> str:
        """A token as the protocol spells it: its text, or "bytes:" and its bytes if it cuts a character."""
        try:
            return self.tokenizer.vocab[token].decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in self.tokenizer.vocab[token])


def _log(probability: float) -> float:
    return math.log(max(probability, 1e-38))  # JSON has no infinity
