"""A text as a series of events for the page: how it starts, each token, how it ends."""

import time
from collections.abc import Iterator
from typing import Any

from minlm.generation.batched import StreamedToken
from minlm.generation.samples_file import Setting, prompt_ids
from minlm.generation.stream_text import stream_text
from minlm.reports.html import spell_token
from minlm.serve.request import TextRequest
from minlm.tokenization import BPETokenizer
from minlm.transformer.model import TransformerLM

NUM_ALTERNATIVES = 5

Event = dict[str, Any]


def write_text(model: TransformerLM, tokenizer: BPETokenizer, request: TextRequest) -> Iterator[Event]:
    """Write what was asked for; the model works only while the next event is asked for.

    Yields:
        dicts that JSON can hold, told apart by "type":

        - "start": "seed"; "prompt_tokens", and "context_length", the last of them that the model can see.
        - "token": "text" that the token adds, "" if it ends inside a character; its "id", its "spelling" and its
          "probability" by the model's plain distribution (temperature 1, before top_p); "alternatives", the most
          probable tokens by the same distribution, the best first, with "id", "spelling" and "probability" too.
        - "rest": "text", the U+FFFD of a character that was never completed.
        - "end": "tokens" written in "seconds"; "ended", whether the model itself ended the text.
    """
    prompt_tokens = len(prompt_ids(tokenizer, request.prompt))
    context_length = model.config["context_length"]
    yield {"type": "start", "seed": request.seed, "prompt_tokens": prompt_tokens, "context_length": context_length}
    setting = Setting(request.temperature, request.top_p)
    started, count = time.perf_counter(), 0
    for piece in stream_text(
        model, tokenizer, request.prompt, setting, request.max_tokens, request.seed, NUM_ALTERNATIVES
    ):
        if piece.token is None:
            yield {"type": "rest", "text": piece.text}
        else:
            count += 1
            yield {"type": "token", "text": piece.text, **_describe(piece.token, tokenizer)}
    seconds = time.perf_counter() - started
    yield {"type": "end", "tokens": count, "seconds": round(seconds, 3), "ended": count < request.max_tokens}


def _describe(token: StreamedToken, tokenizer: BPETokenizer) -> Event:
    return {
        **_spell(token.token, token.probability, tokenizer),
        "alternatives": [_spell(index, probability, tokenizer) for index, probability in token.alternatives],
    }


def _spell(token: int, probability: float, tokenizer: BPETokenizer) -> Event:
    return {"id": token, "spelling": spell_token(tokenizer.vocab[token]), "probability": probability}
