"""A text as events for the page: the start, each token, and the end."""

import time
from collections.abc import Iterator
from typing import Any

from minlm.generation.samples_file import Setting
from minlm.generation.stream_text import spell_token, stream_text
from minlm.serve.request import TextRequest
from minlm.tokenization import BPETokenizer
from minlm.transformer.model import TransformerLM

NUM_ALTERNATIVES = 5

Event = dict[str, Any]


def write_text(model: TransformerLM, tokenizer: BPETokenizer, request: TextRequest) -> Iterator[Event]:
    """Yield a text as dicts for JSON; docs/serve.md lists their fields.

    The model runs only while the caller waits for the next event.
    """
    yield {
        "type": "start",
        "seed": request.seed,
        "prompt_tokens": len(tokenizer.encode(request.prompt)) or 1,  # an empty prompt becomes `<|endoftext|>`
        "context_length": model.config["context_length"],
    }

    def describe(token: int, probability: float) -> Event:
        return {"id": token, "spelling": spell_token(tokenizer.vocab[token]), "probability": probability}

    setting = Setting(request.temperature, request.top_p)
    started, count = time.perf_counter(), 0
    for streamed in stream_text(
        model, tokenizer, request.prompt, setting, request.max_tokens, request.seed, NUM_ALTERNATIVES
    ):
        if (token := streamed.token) is None:
            yield {"type": "rest", "text": streamed.text}
        else:
            count += 1
            described = describe(token.token, token.probability)
            alternatives = [describe(*alternative) for alternative in token.alternatives]
            yield {"type": "token", "text": streamed.text, **described, "alternatives": alternatives}
    seconds = round(time.perf_counter() - started, 3)
    yield {"type": "end", "tokens": count, "seconds": seconds, "ended": count < request.max_tokens}
