"""Text while it is being generated: `batched.stream`, decoded."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from minlm.generation.batched import StreamedToken, stream
from minlm.generation.samples_file import Setting, end_of_text, prompt_ids
from minlm.tokenization import BPETokenizer
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
    """Continue a prompt until `<|endoftext|>` or the limit, and yield the text of each token as soon as it is drawn.

    All texts together are what `generate_samples` appends to the same prompt with the same setting and seed.

    Args:
        model, tokenizer: a pair that `load.load_with_tokenizer` has checked.
        prompt: text to continue; it is not repeated. An empty one starts a new document.
        setting: how to draw the tokens.
        max_new_tokens: limit for the text.
        seed: of the random numbers.
        num_alternatives: number of most probable tokens to report with each token, see `StreamedToken`.

    Raises:
        MinlmError: as `generate_batch`, at the call.
    """
    tokens = stream(
        model,
        prompt_ids(tokenizer, prompt),
        max_new_tokens,
        setting.temperature,
        setting.top_p,
        end_of_text(tokenizer),
        seed,
        setting.top_k,
        vocab_size=max(tokenizer.vocab) + 1,
        num_alternatives=num_alternatives,
    )
    return _decode(tokens, tokenizer)


def _decode(tokens: Iterator[StreamedToken], tokenizer: BPETokenizer) -> Iterator[StreamedText]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # holds back incomplete characters
    for token in tokens:
        yield StreamedText(decoder.decode(tokenizer.decode_bytes([token.token])), token)
    if rest := decoder.decode(b"", final=True):
        yield StreamedText(rest, None)


def write_stream(
    file: TextIO,
    model: TransformerLM,
    tokenizer: BPETokenizer,
    prompt: str,
    setting: Setting,
    max_new_tokens: int,
    seed: int,
) -> int:
    """Write the prompt and then each text of `stream_text` as it comes; return the number of new tokens."""
    texts = stream_text(model, tokenizer, prompt, setting, max_new_tokens, seed)  # fails before anything is written
    count = 0
    try:
        file.write(prompt)
        for text in texts:
            file.write(text.text)
            file.flush()
            count += text.token is not None
    finally:  # after an interruption too, so that its message starts on a new line
        file.write("\n")
        file.flush()
    return count


def spell_token(token: bytes) -> str:
    """A token as text for people to read; in hexadecimal, such as "⟨e8⟩⟨aa⟩", if it is not UTF-8."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "".join(f"⟨{byte:02x}⟩" for byte in token)
