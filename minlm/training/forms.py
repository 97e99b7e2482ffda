"""The door between what a model is and how it is fast: `minlm.transformer` or its namesakes in `minlm.fast`."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from minlm import transformer as plain
from minlm.fast import transformer as fast
from minlm.training.settings import TrainingSettings
from minlm.transformer.classic import get_lr_cosine_schedule, get_lr_wsd_schedule
from minlm.transformer.init import look_back
from minlm.transformer.optim import get_lr_linear_schedule

SCHEDULES = {"linear": get_lr_linear_schedule, "cosine": get_lr_cosine_schedule, "wsd": get_lr_wsd_schedule}


def initial_model(
    config: dict[str, Any], settings: TrainingSettings, start: Callable[[Any], None] | None
) -> plain.TransformerLM:
    """The model before its first step, on the CPU.

    Args:
        config: constructor arguments of `TransformerLM`.
        settings: `reference`, `seed`, `look_back_init` and `gradient_checkpointing` are used.
        start: gives the model weights that it does not start from at random.
    """
    torch.manual_seed(settings.seed)
    model: plain.TransformerLM = _form(settings).TransformerLM(**config)
    model.gradient_checkpointing = settings.gradient_checkpointing  # type: ignore[assignment]  # the plain form ignores it
    if settings.look_back_init:
        look_back(model)
    if start is not None:
        start(model)
    return model


def optimizer_of(model: plain.TransformerLM, settings: TrainingSettings) -> plain.AdamW:
    """The optimizer of all weights."""
    optimizer: plain.AdamW = _form(settings).AdamW(
        model.parameters(), lr=settings.lr_max, betas=(settings.beta1, settings.beta2), eps=settings.eps,
        weight_decay=settings.weight_decay,
    )  # fmt: skip
    return optimizer


def clipping(settings: TrainingSettings) -> Callable[[Iterable[Tensor], float], Tensor]:
    """`gradient_clipping`."""
    function: Callable[[Iterable[Tensor], float], Tensor] = _form(settings).gradient_clipping
    return function


def _form(settings: TrainingSettings) -> Any:
    return plain if settings.reference else fast
