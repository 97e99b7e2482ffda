"""What a training run says before it begins: its size, the memory it needs, and what an untrained model achieves."""

import math

import torch

from minlm.cores import available_memory
from minlm.pipeline.threads import training_memory
from minlm.progress import log
from minlm.training.evaluation import validation_loss
from minlm.training.trainer import Trainer


def announce(trainer: Trainer, vocab_size: int) -> None:
    """Log the memory that the run needs and, if it begins at the first step, the validation loss before it.

    Warns if the memory will not do. All processes of a run call this function, because they validate together.
    """
    if trainer.processes.is_first:
        log.info(memory_line(trainer, vocab_size))
        if warning := memory_warning(trainer, vocab_size):
            log.warning(warning)
        log.info(description(trainer))
    if trainer.step == 0:
        loss = validation_loss(
            trainer.model, trainer.valid_tokens, trainer.context_length, trainer.settings.batch_size, trainer.device,
            trainer.computation.dtype, trainer.processes, trainer.settings.eval_tokens,
        )  # fmt: skip
        log.info(f"before training: validation loss {loss:.3f} (guessing among {vocab_size:,} tokens: "
                 f"{math.log(vocab_size):.3f})")  # fmt: skip


def description(trainer: Trainer) -> str:
    """One line: what is trained, and how."""
    settings, count, threads = trainer.settings, trainer.processes.count, torch.get_num_threads()
    attention = "fused" if trainer.model.config["flash_attention"] else "written-out"
    accumulation = f", gradients in {settings.grad_accum_steps} parts" if settings.grad_accum_steps > 1 else ""
    tokens = trainer.steps * settings.batch_size * trainer.context_length
    return (
        f"train: {trainer.model.num_parameters():,} parameters, {trainer.steps:,} steps of {settings.batch_size} × "
        f"{trainer.context_length} = {tokens:,} tokens on {f'{count} × ' if count > 1 else ''}{trainer.device.type}, "
        f"{threads} {'thread' if threads == 1 else 'threads'}; {trainer.computation}, {attention} attention"
        f"{accumulation}"
    )


def memory_line(trainer: Trainer, vocab_size: int) -> str:
    """One line: the memory that the run needs, about, and the memory that there is."""
    needed, available = needed_memory(trainer, vocab_size), memory_of(trainer.device)
    there = f" of {available / 1e9:.1f} GB" if available is not None else ""
    return f"memory: about {needed / 1e9:.1f} GB{there}"


def memory_warning(trainer: Trainer, vocab_size: int) -> str | None:
    """A warning if the run needs more memory than there is."""
    needed, available = needed_memory(trainer, vocab_size), memory_of(trainer.device)
    if available is None or needed <= available:
        return None
    return (
        f"warning: this training needs about {needed / 1e9:.1f} GB of memory, and there are {available / 1e9:.1f} GB. "
        "If it is killed, raise grad_accum_steps, set gradient_checkpointing, or lower batch_size or the model's size; "
        "the first two do not change the result."
    )


def needed_memory(trainer: Trainer, vocab_size: int) -> int:
    """Bytes that the training needs in one process; an estimate, rather too many than too few."""
    settings = {**vars(trainer.settings), "batch_size": trainer.settings.batch_size // trainer.processes.count}
    model = {**trainer.model.config, "vocab_size": vocab_size}
    return training_memory({"model": model, "training": settings, "tokenizer": {"vocab_size": vocab_size}})


def memory_of(device: torch.device) -> int | None:
    """The memory of a device in bytes that is free for this process; None if torch does not know."""
    if device.type == "cpu":
        return available_memory()
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    return None
