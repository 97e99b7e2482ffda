"""Generation in production: many texts in a batch, or one as a stream.

`minlm.transformer.generate` is the definition: it continues one prompt and is written to be read. Here many texts
advance together, and none depends on the others. `batch_cache` holds their keys and values, and `draw` draws the next
token of each. The same seed gives the tokens of `generate`, unless rounding moves a draw to the neighboring token.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minlm.errors import MinlmError
from minlm.generation.batch_cache import BatchCache
from minlm.generation.draw import NO_TOKEN, draw_tokens
from minlm.progress import Progress
from minlm.transformer.checks import check_request, what_is_spoiled
from minlm.transformer.devices import move
from minlm.transformer.model import TransformerLM


@dataclass
class Request:
    """One text to generate. The attributes mean what the arguments of `minlm.transformer.generate` mean."""

    prompt_ids: Sequence[int]
    temperature: float = 1.0
    top_p: float | None = None
    seed: int | None = None
    top_k: int | None = None


@dataclass(frozen=True)
class StreamedToken:
    """A token that `stream` has drawn. Probabilities are the model's own: temperature 1, before top_k and top_p.

    Attributes:
        token: its id.
        probability: its probability.
        alternatives: (id, probability) of the most probable tokens, in descending order; may include this token.
    """

    token: int
    probability: float
    alternatives: list[tuple[int, float]]


def generate_batch(
    model: TransformerLM,
    requests: Sequence[Request],
    max_new_tokens: int,
    stop_token: int | None = None,
    vocab_size: int | None = None,
) -> list[Tensor]:
    """Continue all prompts together, each as `minlm.transformer.generate` would.

    Args:
        model: on any device.
        requests: the texts to generate; prompts may differ in length.
        max_new_tokens: limit for each text.
        stop_token: a text ends when this is drawn; it is not part of the result.
        vocab_size: only ids below this are drawn, for a model with more ids than its tokenizer; None draws all.

    Returns:
        for each request int64 (prompt + new tokens,) on the CPU.

    Raises:
        MinlmError: an empty prompt, an unknown token, a setting out of range, or logits that are not finite.
    """
    _check(model, requests, max_new_tokens)
    texts = [list(request.prompt_ids) for request in requests]
    with Progress(max_new_tokens, "generating", "tokens") as progress:
        for _ in _extend(model, texts, requests, max_new_tokens, stop_token, vocab_size):
            progress.update(1)
    return [torch.tensor(text, dtype=torch.int64) for text in texts]


def stream(
    model: TransformerLM,
    request: Request,
    max_new_tokens: int,
    stop_token: int | None = None,
    vocab_size: int | None = None,
    num_alternatives: int = 0,
) -> Iterator[StreamedToken]:
    """Continue one prompt and yield each new token as soon as it is drawn, with `num_alternatives` alternatives.

    The model runs only while the caller waits for the next token. The other arguments and the errors are those of
    `generate_batch`; a bad argument fails at the call, not at the first token.
    """
    _check(model, [request], max_new_tokens)
    text = list(request.prompt_ids)
    steps = _extend(model, [text], [request], max_new_tokens, stop_token, vocab_size)
    return (_describe(text[-1], logits[0], num_alternatives) for logits in steps)


@torch.inference_mode()
def _extend(
    model: TransformerLM,
    texts: list[list[int]],
    requests: Sequence[Request],
    max_new_tokens: int,
    stop_token: int | None,
    vocab_size: int | None,
) -> Iterator[Tensor]:
    """Extend `texts` in place, one token at a time, until all have ended.

    Yields:
        after each step, the logits (rows, vocab) that it drew from, one row for each text that continues.
    """
    settings = _stack(requests, max_new_tokens)
    active = texts  # those that continue; row i of the cache, the logits and the settings belongs to active[i]
    cache, logits = _prefill(model, [text[-model.config["context_length"] :] for text in texts])
    for step in range(max_new_tokens):
        logits = logits[:, :vocab_size]
        temperatures, top_ps, top_ks, draws = settings
        tokens = draw_tokens(logits, temperatures, top_ps, top_ks, draws[:, step])
        drawn = tokens.tolist()  # the only place that waits for the device
        if NO_TOKEN in drawn:
            raise MinlmError(what_is_spoiled(model))
        kept = [row for row, token in enumerate(drawn) if token != stop_token]
        if len(kept) < len(active):
            active, drawn = [active[row] for row in kept], [drawn[row] for row in kept]
            rows = torch.tensor(kept, dtype=torch.int64)
            settings = [setting[rows] for setting in settings]
            cache.keep(rows)
            rows = move(rows, logits.device)
            tokens, logits = tokens[rows], logits[rows]
        if not active:
            return
        for text, token in zip(active, drawn, strict=True):
            text.append(token)
        yield logits
        if step < max_new_tokens - 1:
            _make_room(model, cache, active)
            logits = model(tokens.unsqueeze(1), cache)[:, -1]  # (rows, vocab)
            cache.lengths += 1


def _describe(token: int, logits: Tensor, num_alternatives: int) -> StreamedToken:
    probabilities = torch.softmax(logits.float(), dim=-1)
    best, ids = probabilities.topk(min(num_alternatives, len(probabilities)))
    return StreamedToken(token, float(probabilities[token]), list(zip(ids.tolist(), best.tolist(), strict=True)))


def _check(model: TransformerLM, requests: Sequence[Request], max_new_tokens: int) -> None:
    size = model.config["vocab_size"]
    for r in requests:
        check_request(r.prompt_ids, size, max_new_tokens, r.temperature, r.top_p, r.top_k, r.seed)


def _stack(requests: Sequence[Request], max_new_tokens: int) -> list[Tensor]:
    """Temperatures, top_ps, top_ks and draws (rows, max_new_tokens) for `draw_tokens`.

    All are on the CPU, so that a seed gives the same random numbers on every device.
    """
    generators = [None if r.seed is None else torch.Generator().manual_seed(r.seed) for r in requests]
    return [
        torch.tensor([request.temperature for request in requests], dtype=torch.float32),
        torch.tensor([1.0 if request.top_p is None else request.top_p for request in requests], dtype=torch.float32),
        torch.tensor([2**62 if request.top_k is None else request.top_k for request in requests]),
        torch.stack([torch.rand(max_new_tokens, generator=generator) for generator in generators]),
    ]


def _prefill(model: TransformerLM, windows: list[list[int]]) -> tuple[BatchCache, Tensor]:
    """Read the windows; return the filled cache and the logits (rows, vocab) after the last token of each window.

    Windows are read one by one: padding them to one length would cost more than a batch saves. Equal windows are read
    once.
    """
    device = model.lm_head.weight.device
    cache = BatchCache(model, len(windows))
    states = torch.empty(len(windows), model.config["d_model"], device=device, dtype=model.lm_head.weight.dtype)
    rows_of: dict[tuple[int, ...], list[int]] = {}
    for row, window in enumerate(windows):
        rows_of.setdefault(tuple(window), []).append(row)
    for tokens, rows in rows_of.items():
        single = BatchCache(model, 1)
        last = model.hidden_states(move(torch.tensor([tokens]), device), single)[:, -1]
        single.lengths += len(tokens)
        states[move(torch.tensor(rows), device)] = last
        cache.replace(torch.tensor(rows), single)
    return cache, model.lm_head(states)


def _make_room(model: TransformerLM, cache: BatchCache, texts: list[list[int]]) -> None:
    """Replace each full row of the cache by the last half of its text, without the newest token, which is read next."""
    full = torch.nonzero(cache.lengths == model.config["context_length"]).flatten()
    half = model.config["context_length"] // 2
    if len(full) == 0:
        return
    if half == 0:  # a context of one token has no room for a past
        cache.lengths[full] = 0
        return
    cache.replace(full, _prefill(model, [texts[row][-half - 1 : -1] for row in full.tolist()])[0])
