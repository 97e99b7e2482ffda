"""A text as events for the page: the start, each token, and the end."""

import time
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from minlm.generation.samples_file import Setting, make_request
from minlm.generation.shared import SharedModel
from minlm.generation.stream_text import decode_stream, spell_token, until_end_of_turn
from minlm.serve.request import TextRequest
from minlm.tokenization import BPETokenizer
from minlm.tokenization.chat import encode_prompt

Event = dict[str, Any]


def write_text(shared: SharedModel, tokenizer: BPETokenizer, request: TextRequest) -> Generator[Event, None, None]:
    """Yield a text as dicts for JSON; docs/serve.md lists their fields."""
    setting = Setting(request.temperature, request.top_p)
    asked = make_request(tokenizer, request.prompt, setting, request.seed)
    if request.messages:
        asked = replace(asked, prompt_ids=encode_prompt(tokenizer, request.messages))
    yield {
        "type": "start",
        "seed": request.seed,
        "prompt_tokens": len(asked.prompt_ids),
        "context_length": shared.model.config["context_length"],
    }

    def describe(token: int, probability: float) -> Event:
        return {"id": token, "spelling": spell_token(tokenizer.vocab[token]), "probability": probability}

    started, count = time.perf_counter(), 0
    with shared.texts([asked], request.max_tokens) as texts:
        tokens = (token for _, token in texts if token.token != shared.stop_token)
        for streamed in decode_stream(until_end_of_turn(tokens, tokenizer) if request.messages else tokens, tokenizer):
            if (token := streamed.token) is None:
                yield {"type": "rest", "text": streamed.text}
            else:
                count += 1
                described = describe(token.token, token.probability)
                alternatives = [describe(*alternative) for alternative in token.alternatives]
                yield {"type": "token", "text": streamed.text, **described, "alternatives": alternatives}
    seconds = round(time.perf_counter() - started, 3)
    yield {"type": "end", "tokens": count, "seconds": seconds, "ended": count < request.max_tokens}
