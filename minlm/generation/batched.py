"""Text from a model: one token after the other, many texts at once.

Each text has its own prompt, temperature, top_k, nucleus and seed. What comes out does not depend on what else is
generated beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minlm.errors import MinlmError
from minlm.generation.cache import KeyValueCache
from minlm.generation.draw import NO_TOKEN, draw_tokens
from minlm.progress import Progress
from minlm.transformer.checks import check_request, spoiled_weight
from minlm.transformer.data import move
from minlm.transformer.model import TransformerLM


@dataclass
class Request:
    """One text to generate.

    Attributes:
        prompt_ids: at least one token id; an empty text starts from the id of `<|endoftext|>`.
        temperature: logits are divided by it; 0 takes the most probable token always.
        top_p: draw from the smallest set of tokens with at least this probability together (the nucleus,
            Holtzman et al. 2020); None draws from all.
        seed: of this text's randomness; None uses torch's global generator.
        top_k: draw from this many most probable tokens (Fan et al. 2018); with top_p, the nucleus is taken of their
            distribution. None draws from all.
    """

    prompt_ids: Sequence[int]
    temperature: float = 1.0
    top_p: float | None = None
    seed: int | None = None
    top_k: int | None = None


@dataclass(frozen=True)
class StreamedToken:
    """A token that `stream` has drawn.

    Attributes:
        token: its id.
        probability: what the model gave it, by its plain distribution: temperature 1, before top_k and top_p.
        alternatives: the most probable (id, probability) by the same distribution, the best first; the token itself
            is among them if it is that probable.
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
    """Continue all prompts together.

    A prompt longer than the context is read from its last `context_length` tokens. When a text has filled the
    context, the model goes on with the last half of it in view, and so on each time the context is full.

    Args:
        model: on any device.
        requests: what to generate; prompts of any lengths.
        max_new_tokens: tokens to add to each at most.
        stop_token: a text ends when this is drawn; it is not part of the result.
        vocab_size: draw only ids below this, for a model with more ids than its tokenizer; None draws all.

    Returns:
        for each request int64 (prompt + new tokens,) on the CPU.

    Raises:
        MinlmError: an empty prompt, a token the model does not have, a setting out of range, or weights that are not
            finite.
    """
    _check(model, requests, max_new_tokens)
    texts = [list(request.prompt_ids) for request in requests]
    with Progress(max_new_tokens, "generating", "tokens") as progress:
        for _ in _extend(model, texts, requests, max_new_tokens, stop_token, vocab_size):
            progress.update(1)
    return [torch.tensor(text, dtype=torch.int64) for text in texts]


def stream(
    model: TransformerLM,
    prompt_ids: Sequence[int] | Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float | None = None,
    stop_token: int | None = None,
    seed: int | None = None,
    top_k: int | None = None,
    *,
    vocab_size: int | None = None,
    num_alternatives: int = 0,
) -> Iterator[StreamedToken]:
    """Continue one prompt and yield each new token as soon as it is drawn: the same tokens as `generate` gives.

    The model works only while the next token is asked for, so a reader who stops reading stops it. For the text of
    the tokens see `streaming.stream_text`: a character can take several tokens.

    Args:
        model, prompt_ids, …, vocab_size: as for `generate` and `generate_batch`.
        num_alternatives: how many of the most probable tokens to report with each.

    Raises:
        MinlmError: as `generate_batch`, at the call and not at the first token.
    """
    request = Request([int(token) for token in prompt_ids], temperature, top_p, seed, top_k)
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
    """Extend `texts` in place, a token each at a time, until all have ended.

    Yields:
        after each step, the logits (rows, vocab) it drew from, a row for each text that goes on.
    """
    settings = _stack(requests, max_new_tokens)
    active = texts  # the texts that go on; row i of the cache, the logits and the settings belongs to active[i]
    cache, logits = _prefill(model, [text[-model.config["context_length"] :] for text in texts])
    for step in range(max_new_tokens):
        logits = logits[:, :vocab_size]
        temperatures, top_ps, top_ks, draws = settings
        tokens = draw_tokens(logits, temperatures, top_ps, top_ks, draws[:, step])
        drawn = tokens.tolist()  # the only place where the device is waited for
        if NO_TOKEN in drawn:
            raise MinlmError(_what_is_spoiled(model))
        going_on = [row for row, token in enumerate(drawn) if token != stop_token]
        if len(going_on) < len(active):
            active, drawn = [active[row] for row in going_on], [drawn[row] for row in going_on]
            rows = torch.tensor(going_on, dtype=torch.int64)
            settings = [setting[rows] for setting in settings]
            cache.keep(rows)
            there = move(rows, logits.device)
            tokens, logits = tokens[there], logits[there]
        if not active:
            return
        for text, token in zip(active, drawn, strict=True):
            text.append(token)
        yield logits
        if step < max_new_tokens - 1:
            _make_room(model, cache, active)
            logits = model(tokens.unsqueeze(1), cache)[:, -1]  # (rows, vocab)
            cache.lengths += 1


def _what_is_spoiled(model: TransformerLM) -> str:
    name = spoiled_weight(model)
    what = f"weight {name} holds NaN or infinite values" if name else "logits became NaN or infinite"
    return f"the model's {what}, so it cannot write. Train it again, with a lower lr_max."


def _describe(token: int, logits: Tensor, num_alternatives: int) -> StreamedToken:
    probabilities = torch.softmax(logits.float(), dim=-1)
    best, ids = probabilities.topk(min(num_alternatives, len(probabilities)))
    return StreamedToken(token, float(probabilities[token]), list(zip(ids.tolist(), best.tolist(), strict=True)))


def _check(model: TransformerLM, requests: Sequence[Request], max_new_tokens: int) -> None:
    for r in requests:
        vocab_size = model.config["vocab_size"]
        check_request(r.prompt_ids, vocab_size, max_new_tokens, r.temperature, r.top_p, r.top_k, r.seed)


def _stack(requests: Sequence[Request], max_new_tokens: int) -> list[Tensor]:
    """Temperatures, top_ps, top_ks and draws (rows, max_new_tokens) for `draw_tokens`, on the CPU.

    All the randomness of a text is drawn beforehand: it is the same on every device.
    """
    generators = [None if r.seed is None else torch.Generator().manual_seed(r.seed) for r in requests]
    return [
        torch.tensor([request.temperature for request in requests], dtype=torch.float32),
        torch.tensor([1.0 if request.top_p is None else request.top_p for request in requests], dtype=torch.float32),
        torch.tensor([2**62 if request.top_k is None else request.top_k for request in requests]),
        torch.stack([torch.rand(max_new_tokens, generator=generator) for generator in generators]),
    ]


def _prefill(model: TransformerLM, windows: list[list[int]]) -> tuple[KeyValueCache, Tensor]:
    """Read the windows; return the filled cache and the logits (rows, vocab) behind each window's end.

    Each is read alone: padding them to the same length would cost more than reading them together saves. What stands
    there several times is read once.
    """
    device = model.lm_head.weight.device
    cache = KeyValueCache(model, len(windows))
    states = torch.empty(len(windows), model.config["d_model"], device=device, dtype=model.lm_head.weight.dtype)
    rows_of: dict[tuple[int, ...], list[int]] = {}
    for row, window in enumerate(windows):
        rows_of.setdefault(tuple(window), []).append(row)
    for tokens, rows in rows_of.items():
        alone = KeyValueCache(model, 1)
        last = model.hidden_states(move(torch.tensor([tokens]), device), alone)[:, -1]
        alone.lengths += len(tokens)
        states[move(torch.tensor(rows), device)] = last
        cache.replace(torch.tensor(rows), alone)
    return cache, model.lm_head(states)


def _make_room(model: TransformerLM, cache: KeyValueCache, texts: list[list[int]]) -> None:
    """Where a row of the cache is full, read the last half of its text again, so that one more token fits.

    The newest token of each text is not in the cache yet and stays out.
    """
    full = torch.nonzero(cache.lengths == model.config["context_length"]).flatten()
    half = model.config["context_length"] // 2
    if len(full) == 0:
        return
    if half == 0:  # a context of one token has no room for a past
        cache.lengths[full] = 0
        return
    cache.replace(full, _prefill(model, [texts[row][-half - 1 : -1] for row in full.tolist()])[0])
