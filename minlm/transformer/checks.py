"""Arguments that cannot work, refused with an error that says what to change."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from minlm.errors import MinlmError


def check_shape(config: dict[str, Any]) -> None:
    """Raise `MinlmError` for constructor arguments of `TransformerLM` that do not fit each other."""
    for name in ("vocab_size", "context_length", "d_model", "num_layers", "num_heads", "d_ff"):
        if config[name] < 1:
            raise MinlmError(f"{name} must be at least 1, not {config[name]}.")
    for name in ("rope_theta", "embedding_std"):
        if not 0 < config[name] < float("inf"):
            raise MinlmError(f"{name} must be a number above 0, not {config[name]}.")
    check_heads(config["d_model"], config["num_heads"])


def check_heads(d_model: int, num_heads: int) -> None:
    """Raise `MinlmError` unless the heads have equal dimensions."""
    if d_model % num_heads != 0:
        raise MinlmError(f"d_model ({d_model}) must be divisible by num_heads ({num_heads}).")


def check_length(length: int, context_length: int) -> None:
    """Raise `MinlmError` for a sequence that is longer than the context."""
    if length > context_length:
        raise MinlmError(f"a sequence of {length} tokens is longer than the model's context of {context_length}.")


def check_request(
    prompt_ids: Sequence[int], vocab_size: int, max_new_tokens: int, temperature: float, top_p: float | None,
    top_k: int | None, seed: int | None,
) -> None:  # fmt: skip
    """Raise `MinlmError` for a request that `generate` cannot fulfil; the arguments are its own."""
    if max_new_tokens < 0:
        raise MinlmError(f"the number of new tokens must be 0 or more, not {max_new_tokens}.")
    if len(prompt_ids) == 0:
        raise MinlmError("the prompt has no tokens; start an empty text from the id of <|endoftext|>.")
    if foreign := [token for token in prompt_ids if not 0 <= token < vocab_size]:
        raise MinlmError(
            f"the prompt's token id {foreign[0]} does not fit the model's vocabulary of {vocab_size}: "
            "use the vocabulary the model was trained with."
        )
    if not 0 <= temperature < float("inf"):
        raise MinlmError(f"temperature must be 0 (greedy) or more, not {temperature}.")
    if top_p is not None and not 0 < top_p <= 1:
        raise MinlmError(f"top_p must be above 0 and at most 1, not {top_p}.")
    if top_k is not None and not 1 <= top_k < 2**63:
        raise MinlmError(f"top_k must be at least 1, not {top_k}.")
    if seed is not None and not 0 <= seed < 2**63:
        raise MinlmError(f"the seed must be at least 0 and below 2^63, not {seed}.")


def spoiled_weight(model: nn.Module) -> str | None:
    """The name of a weight that holds a NaN or an infinity; None if all are finite. Waits for the device once."""
    weights = dict(model.named_parameters())
    extremes = torch.stack([torch.stack(weight.detach().aminmax()) for weight in weights.values()])
    finite = extremes.isfinite().all(dim=1).tolist()
    return next((name for name, good in zip(weights, finite, strict=True) if not good), None)


def check_logits(logits: Tensor, model: nn.Module) -> Tensor:
    """Return the logits of a position; raise `MinlmError`, naming the weight to blame, if the largest is not finite."""
    if not logits.max().isfinite():
        raise MinlmError(what_is_spoiled(model))
    return logits


def what_is_spoiled(model: nn.Module) -> str:
    """The message for a model whose logits are NaN or infinite."""
    name = spoiled_weight(model)
    what = f"weight {name} holds NaN or infinite values" if name else "logits became NaN or infinite"
    return f"the model's {what}, so it cannot write. Train it again, with a lower lr_max."
