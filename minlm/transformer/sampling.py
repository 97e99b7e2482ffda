"""Text from a model: one token after the other, many texts at once.

Each text has its own prompt, temperature, nucleus and seed. What comes out does not depend on what else is
generated beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minlm.errors import MinlmError
from minlm.progress import Progress
from minlm.transformer.cache import KeyValueCache
from minlm.transformer.loss import softmax
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
    """

    prompt_ids: Sequence[int]
    temperature: float = 1.0
    top_p: float | None = None
    seed: int | None = None


def generate(
    model: TransformerLM,
    prompt_ids: Sequence[int] | Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float | None = None,
    stop_token: int | None = None,
    seed: int | None = None,
) -> Tensor:
    """Continue one prompt; the arguments are explained at `Request` and `generate_batch`.

    Returns:
        int64 (prompt + new tokens,) on the CPU.
    """
    request = Request([int(token) for token in prompt_ids], temperature, top_p, seed)
    return generate_batch(model, [request], max_new_tokens, stop_token)[0]


@torch.inference_mode()
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
        MinlmError: an empty prompt, a token the model does not have, a temperature, top_p or seed out of range.
    """
    if max_new_tokens < 0:
        raise MinlmError(f"the number of new tokens must be 0 or more, not {max_new_tokens}.")
    for request in requests:
        _check(request, model.config["vocab_size"])
    device = model.lm_head.weight.device
    texts = [list(request.prompt_ids) for request in requests]
    draws = torch.stack([_uniforms(request.seed, max_new_tokens) for request in requests]).to(device)
    temperatures = torch.tensor([request.temperature for request in requests], device=device)
    top_ps = torch.tensor([1.0 if request.top_p is None else request.top_p for request in requests], device=device)

    active = list(range(len(texts)))  # the texts that go on; row i of the cache belongs to text active[i]
    cache, logits = _prefill(model, [text[-model.config["context_length"] :] for text in texts])
    with Progress(max_new_tokens, "generating", "tokens") as progress:
        for step in range(max_new_tokens):
            tokens = sample_tokens(logits[:, :vocab_size], temperatures[active], top_ps[active], draws[active, step])
            going_on = [row for row, token in enumerate(tokens.tolist()) if token != stop_token]
            if len(going_on) < len(active):
                active = [active[row] for row in going_on]
                rows = torch.tensor(going_on, dtype=torch.int64, device=device)
                tokens = tokens[rows]
                cache.keep(rows)
            for text, token in zip(active, tokens.tolist(), strict=True):
                texts[text].append(token)
            progress.update(1)
            if not active or step == max_new_tokens - 1:
                break
            _make_room(model, cache, [texts[text] for text in active])
            logits = model(tokens.unsqueeze(1), cache)[:, -1]  # (rows, vocab)
            cache.lengths += 1
    return [torch.tensor(text, dtype=torch.int64) for text in texts]


def sample_tokens(logits: Tensor, temperatures: Tensor, top_ps: Tensor, draws: Tensor) -> Tensor:
    """Draw one token for each row.

    The tokens of a row stand in order of falling probability on a line of length 1; the nucleus is the shortest
    beginning of that line that reaches top_p, and the draw says where in the nucleus to look.

    Args:
        logits: (rows, vocab).
        temperatures: (rows,); 0 is greedy.
        top_ps: (rows,), in (0, 1].
        draws: (rows,), uniform in [0, 1).

    Returns:
        int64 (rows,).
    """
    logits = logits.float()
    greedy = logits.argmax(dim=-1)
    if not temperatures.any():
        return greedy
    scale = torch.where(temperatures > 0, temperatures, 1.0).unsqueeze(-1)
    # The maximum is taken off before the division, which a tiny temperature would make overflow.
    probabilities = softmax((logits - logits.amax(dim=-1, keepdim=True)) / scale, dim=-1)
    probabilities, order = probabilities.sort(dim=-1, descending=True, stable=True)
    line = probabilities.cumsum(dim=-1)
    # In the nucleus are all tokens that begin before top_p. Rounding may keep the line's end below 1, hence clamp.
    last = (line < top_ps.unsqueeze(-1)).sum(dim=-1, keepdim=True).clamp(max=logits.shape[-1] - 1)
    point = draws.unsqueeze(-1) * line.gather(-1, last)
    chosen = torch.minimum((line <= point).sum(dim=-1, keepdim=True), last)
    return torch.where(temperatures > 0, order.gather(-1, chosen).squeeze(-1), greedy)


def _check(request: Request, vocab_size: int) -> None:
    if len(request.prompt_ids) == 0:
        raise MinlmError("the prompt has no tokens; start an empty text from the id of <|endoftext|>.")
    foreign = [token for token in request.prompt_ids if not 0 <= token < vocab_size]
    if foreign:
        raise MinlmError(
            f"the prompt's token id {foreign[0]} does not fit the model's vocabulary of {vocab_size}: "
            "use the vocabulary the model was trained with."
        )
    if not 0 <= request.temperature < float("inf"):
        raise MinlmError(f"temperature must be 0 (greedy) or more, not {request.temperature}.")
    if request.top_p is not None and not 0 < request.top_p <= 1:
        raise MinlmError(f"top_p must be above 0 and at most 1, not {request.top_p}.")
    if request.seed is not None and not 0 <= request.seed < 2**63:
        raise MinlmError(f"the seed must be at least 0 and below 2^63, not {request.seed}.")


def _uniforms(seed: int | None, count: int) -> Tensor:
    """All the randomness of one text, drawn beforehand on the CPU: the same on every device."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.rand(count, generator=generator)


def _prefill(model: TransformerLM, windows: list[list[int]]) -> tuple[KeyValueCache, Tensor]:
    """Read all windows at once; return the filled cache and the logits (rows, vocab) behind each window's end.

    Short windows are padded at the right. No token sees what comes after it, so the padding changes nothing.
    """
    device = model.lm_head.weight.device
    cache = model.new_cache(len(windows))
    lengths = torch.tensor([len(window) for window in windows], device=device)
    padded = torch.zeros(len(windows), int(lengths.max()), dtype=torch.int64)
    for row, window in enumerate(windows):
        padded[row, : len(window)] = torch.tensor(window)
    states = model.hidden_states(padded.to(device), cache)  # (rows, longest, d_model)
    cache.lengths += lengths
    return cache, model.lm_head(states[torch.arange(len(windows), device=device), lengths - 1])


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
