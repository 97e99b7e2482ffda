"""A text as it comes: the tokenizer behind `sampling.stream`."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from minlm.generation.batched import StreamedToken, stream
from minlm.generation.samples_file import Setting, end_of_text, prompt_ids
from minlm.tokenization import BPETokenizer
from minlm.transformer.model import TransformerLM


@dataclass(frozen=True)
class Piece:
    """What one token adds to a text.

    Attributes:
        text: the characters that the token completes; "" if it ends inside a character.
        token: the token; None in a last piece with the U+FFFD of a character that was never completed.
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
) -> Iterator[Piece]:
    """Continue a prompt until `<|endoftext|>` or the limit and yield each token as soon as it is drawn.

    The pieces joined are the text that `generate_samples` appends to the same prompt with the same setting and seed.

    Args:
        model, tokenizer: that belong together, see `loading.load_with_tokenizer`.
        prompt: text to continue, not repeated in the pieces; an empty one starts a new document.
        setting: temperature, top_p and top_k.
        max_new_tokens: at most.
        seed: of the randomness.
        num_alternatives: how many of the most probable tokens to report with each token, see `StreamedToken`.

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
    return _pieces(tokens, tokenizer)


def write_stream(
    file: TextIO,
    model: TransformerLM,
    tokenizer: BPETokenizer,
    prompt: str,
    setting: Setting,
    max_new_tokens: int,
    seed: int,
) -> int:
    """Write the prompt and what `stream_text` gives as it comes, for a person to watch; return how many new tokens."""
    pieces = stream_text(model, tokenizer, prompt, setting, max_new_tokens, seed)  # complains before anything is shown
    count = 0
    try:
        file.write(prompt)
        for piece in pieces:
            file.write(piece.text)
            file.flush()
            count += piece.token is not None
    finally:  # also when interrupted, so that the message gets a line of its own
        file.write("\n")
        file.flush()
    return count


def _pieces(tokens: Iterator[StreamedToken], tokenizer: BPETokenizer) -> Iterator[Piece]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # keeps incomplete characters back
    for token in tokens:
        yield Piece(decoder.decode(tokenizer.decode_bytes([token.token])), token)
    if rest := decoder.decode(b"", final=True):
        yield Piece(rest, None)
