"""A text as events for the page: the start, each token, and the end."""

import time
from collections.abc import Iterator
from typing import Any

from minlm.generation.batched import StreamedToken
from minlm.generation.samples_file import Setting, prompt_ids
from minlm.generation.stream_text import spell_token, stream_text
from minlm.serve.request import TextRequest
from minlm.tokenization import BPETokenizer
from minlm.transformer.model import TransformerLM

NUM_ALTERNATIVES = 5

Event = dict[str, Any]


def write_text(model: TransformerLM, tokenizer: BPETokenizer, request: TextRequest) -> Iterator[Event]:
    """Write a text. The model runs only while the caller waits for the next event.

    Yields:
        dicts for JSON, each with a "type":

        - "start": "seed"; "prompt_tokens", the length of the prompt; "context_length", how many tokens the model sees.
        - "token": "text", which the token adds, "" if it ends inside a character; "id"; "spelling"; "probability" in
          the model's own distribution (temperature 1, before top_p); "alternatives", the most probable tokens in that
          distribution in descending order, each with "id", "spelling" and "probability".
        - "rest": "text", the U+FFFD of a character that is still incomplete at the end.
        - "end": "tokens", the number of new ones; "seconds"; "ended", whether the model ended the text itself.
    """
    prompt_tokens = len(prompt_ids(tokenizer, request.prompt))
    context_length = model.config["context_length"]
    yield {"type": "start", "seed": request.seed, "prompt_tokens": prompt_tokens, "context_length": context_length}
    setting = Setting(request.temperature, request.top_p)
    started, count = time.perf_counter(), 0
    for streamed in stream_text(
        model, tokenizer, request.prompt, setting, request.max_tokens, request.seed, NUM_ALTERNATIVES
    ):
        if streamed.token is None:
            yield {"type": "rest", "text": streamed.text}
        else:
            count += 1
            yield {"type": "token", "text": streamed.text, **_describe(streamed.token, tokenizer)}
    seconds = time.perf_counter() - started
    yield {"type": "end", "tokens": count, "seconds": round(seconds, 3), "ended": count < request.max_tokens}


def _describe(token: StreamedToken, tokenizer: BPETokenizer) -> Event:
    return {
        **_spell(token.token, token.probability, tokenizer),
        "alternatives": [_spell(index, probability, tokenizer) for index, probability in token.alternatives],
    }


def _spell(token: int, probability: float, tokenizer: BPETokenizer) -> Event:
    return {"id": token, "spelling": spell_token(tokenizer.vocab[token]), "probability": probability}
