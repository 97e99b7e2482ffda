"""Text as it is generated: the tokens of `batched.stream`, decoded."""

import codecs
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from minlm.generation.batched import Request, StreamedToken, stream
from minlm.generation.samples_file import Setting, end_of_text, make_request
from minlm.tokenization import BPETokenizer
from minlm.tokenization.chat import END_OF_TURN, Message, encode_prompt
from minlm.transformer.model import TransformerLM


@dataclass(frozen=True)
class StreamedText:
    """The text that one token adds.

    Attributes:
        text: the characters that the token completes; "" if it ends inside a character.
        token: the token; None for the U+FFFD of a character that is still incomplete at the end.
    """

    text: str
    token: StreamedToken | None


def stream_text(
    model: TransformerLM,
    tokenizer: BPETokenizer,
    prompt: str,
    setting: Setting,
    max_new_tokens: int,
    seed: int,
    num_alternatives: int = 0,
) -> Iterator[StreamedText]:
    """Continue a prompt and yield the text of each token as soon as it is drawn; the prompt is not repeated.

    Together, the texts are what `generate_samples` appends to the same prompt with the same setting and seed. The
    arguments are explained there, `num_alternatives` in `batched.stream`.

    Raises:
        MinlmError: as `generate_batch`, at the call.
    """
    request = make_request(tokenizer, prompt, setting, seed)
    vocab_size = max(tokenizer.vocab) + 1
    tokens = stream(model, request, max_new_tokens, end_of_text(tokenizer), vocab_size, num_alternatives)
    return decode_stream(tokens, tokenizer)


def stream_reply(
    model: TransformerLM,
    tokenizer: BPETokenizer,
    messages: Sequence[Message],
    setting: Setting,
    max_new_tokens: int,
    seed: int,
) -> Iterator[StreamedText]:
    """`stream_text` for the assistant's next turn of a conversation; it ends with the turn.

    Raises:
        MinlmError: as `stream_text`, or the tokenizer lacks a token of the template.
    """
    request = Request(encode_prompt(tokenizer, messages), setting.temperature, setting.top_p, seed, setting.top_k)
    tokens = stream(model, request, max_new_tokens, end_of_text(tokenizer), max(tokenizer.vocab) + 1)
    return decode_stream(until_end_of_turn(tokens, tokenizer), tokenizer)


def until_end_of_turn(tokens: Iterable[StreamedToken], tokenizer: BPETokenizer) -> Iterator[StreamedToken]:
    """The tokens before the end of the assistant's turn."""
    end = tokenizer.encode(END_OF_TURN)[0]
    return itertools.takewhile(lambda token: token.token != end, tokens)


def decode_stream(tokens: Iterable[StreamedToken], tokenizer: BPETokenizer) -> Iterator[StreamedText]:
    """Yield the text of each token as soon as it comes."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # holds back incomplete characters
    for token in tokens:
        yield StreamedText(decoder.decode(tokenizer.decode_bytes([token.token])), token)
    if rest := decoder.decode(b"", final=True):
        yield StreamedText(rest, None)


def write_stream(file: TextIO, prompt: str, texts: Iterator[StreamedText]) -> int:
    """Write a prompt and the texts that continue it, each as it comes; return the number of new tokens."""
    count = 0
    try:
        file.write(prompt)
        for text in texts:
            file.write(text.text)
            file.flush()
            count += text.token is not None
    finally:  # also after an interruption, so that its message starts on a new line
        file.write("\n")
        file.flush()
    return count


def spell_token(token: bytes) -> str:
    """A token as readable text; in hexadecimal, such as "⟨e8⟩⟨aa⟩", if it is not UTF-8."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "".join(f"⟨{byte:02x}⟩" for byte in token)
