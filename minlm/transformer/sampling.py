"""Text from a model, one token at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor

from minlm.transformer.attention import KeyValueCache
from minlm.transformer.checks import check_logits, check_request
from minlm.transformer.model import TransformerLM


def sample_token(
    logits: Tensor, draw: Tensor, temperature: float = 1.0, top_p: float | None = None, top_k: int | None = None
) -> int:
    """Draw one token id.

    Inverse transform sampling: `draw` is a point on the cumulative distribution over the ids in their order.

    Args:
        logits: of the next token, (vocab,).
        draw: uniform in [0, 1), float32.
        temperature: divides the logits. Below 1 the probable tokens become more probable; 0 always takes the best.
        top_p: draw from the nucleus (Holtzman et al. 2020), the smallest set of tokens with at least this probability
            in total; None draws from all.
        top_k: draw from this many most probable tokens (Fan et al. 2018), before the nucleus is taken; None, from all.
    """
    logits = logits.float()
    if temperature == 0:
        return int(logits.argmax())
    probabilities = torch.softmax((logits - logits.max()) / temperature, dim=-1)
    if top_k is not None:
        probabilities = _keep_only(probabilities, probabilities.sort(descending=True, stable=True).indices[:top_k])
    if top_p is not None and top_p < 1:
        total = probabilities.sum()
        # All tokens below this probability have less than 1 - top_p together, so the nucleus needs none of them.
        likely = torch.nonzero(probabilities >= (1 - top_p) * total / len(probabilities)).flatten()
        falling, order = probabilities[likely].sort(descending=True, stable=True)
        size = int(torch.searchsorted(falling.cumsum(-1), top_p * total)) + 1
        probabilities = _keep_only(probabilities, likely[order[:size]])
    cumulative = probabilities.cumsum(-1)
    return int(torch.searchsorted(cumulative, draw * cumulative[-1], right=True))


def _keep_only(probabilities: Tensor, ids: Tensor) -> Tensor:
    return torch.zeros_like(probabilities).index_copy(0, ids, probabilities[ids])


@torch.inference_mode()
def generate(
    model: TransformerLM, prompt_ids: Sequence[int] | Tensor, max_new_tokens: int, temperature: float = 1.0,
    top_p: float | None = None, stop_token: int | None = None, seed: int | None = None, top_k: int | None = None,
) -> Tensor:  # fmt: skip
    """Continue a prompt.

    A prompt longer than the context is read from its last `context_length` tokens. When the text has filled the
    context, the model goes on with the last half of it, and so on each time the context is full.

    Args:
        model: on any device.
        prompt_ids: at least one token id; an empty text starts from the id of `<|endoftext|>`.
        max_new_tokens: tokens to add, at most.
        temperature, top_p, top_k: see `sample_token`.
        stop_token: the text ends when this is drawn; it is not part of the result.
        seed: of the random numbers; None uses torch's global generator.

    Returns:
        int64 (prompt + new tokens,) on the CPU.

    Raises:
        MinlmError: no prompt, a token the model does not have, a setting out of range, or weights that are not finite.
    """
    ids = [int(token) for token in prompt_ids]
    check_request(ids, model.config["vocab_size"], max_new_tokens, temperature, top_p, top_k, seed)
    device, context_length = model.lm_head.weight.device, model.config["context_length"]
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    draws = torch.rand(max_new_tokens, generator=generator)  # on the CPU: the same on every device
    cache, pending = KeyValueCache(len(model.layers)), ids[-context_length:]
    for draw in draws:
        if cache.length + len(pending) > context_length:
            cache, pending = KeyValueCache(len(model.layers)), ids[-(context_length // 2) - 1 :]
        states = model.hidden_states(torch.tensor([pending], device=device), cache)
        logits = check_logits(model.lm_head(states[0, -1]), model)
        token = sample_token(logits, draw, temperature, top_p, top_k)
        if token == stop_token:
            break
        ids.append(token)
        pending = [token]
    return torch.tensor(ids, dtype=torch.int64)
