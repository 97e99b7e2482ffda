"""One training loop: batches in, a model and its curve out, exact across interruptions.

Everything that decides the next step is either a function of (settings, step), like the batch and the learning rate,
or in the saved state: weights, optimizer, the loss gathered since the last row, the rows. So a run that was killed
and continued gives the same bytes as one that was left alone.
"""

import dataclasses
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minlm.errors import MinlmError
from minlm.progress import Progress, log
from minlm.transformer.batching import Tokens, batch_at
from minlm.transformer.device import autocast, resolve_dtype
from minlm.transformer.evaluation import validation_loss
from minlm.transformer.loss import cross_entropy_loss
from minlm.transformer.metrics import Row, now, write_metrics
from minlm.transformer.model import TransformerLM
from minlm.transformer.optim import AdamW, get_lr_cosine_schedule, gradient_clipping
from minlm.transformer.run_state import RunState

LOOK_EVERY = 10  # steps between two looks at the loss; each look waits for the device


class Interrupted(Exception):
    """The run was asked to stop; its state is saved. `signal_number` says by which signal."""

    def __init__(self, signal_number: int):
        super().__init__(signal_number)
        self.signal_number = signal_number


@dataclass
class TrainingSettings:
    """What a run depends on besides the model's shape and the tokens.

    `total_tokens` are rounded down to whole steps of batch_size × context_length. `dtype` is the precision of matrix
    products (auto, float32, bfloat16). Intervals are in steps.
    """

    batch_size: int = 64
    total_tokens: int = 163_840_000
    lr_max: float = 3e-4
    lr_min: float = 3e-5
    warmup_iters: int = 1000
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    seed: int = 0
    dtype: str = "auto"
    gradient_checkpointing: bool = False
    eval_interval: int = 500
    save_interval: int = 500

    def steps(self, context_length: int) -> int:
        """Number of steps.

        Raises:
            MinlmError: there is not even one, or the warm-up is longer than the run.
        """
        for name in ("batch_size", "eval_interval", "save_interval"):
            if getattr(self, name) < 1:
                raise MinlmError(f"--{name} must be at least 1, not {getattr(self, name)}.")
        steps = self.total_tokens // (self.batch_size * context_length)
        if steps < 1:
            raise MinlmError(
                f"--total_tokens {self.total_tokens:,} is less than one batch of {self.batch_size} × {context_length} "
                f"= {self.batch_size * context_length:,} tokens. Raise it, or lower --batch_size or --context_length."
            )
        if self.warmup_iters > steps:
            raise MinlmError(
                f"--warmup_iters {self.warmup_iters:,} is longer than the run of {steps:,} steps. "
                "Lower it; 5 % of the run is usual."
            )
        return steps

    def stated(self) -> dict[str, Any]:
        """The settings that decide the result, for the checkpoint and the fingerprint of a run."""
        values = dataclasses.asdict(self)
        del values["save_interval"]
        return values


class Trainer:
    """A model on its way from `settings.seed` to the last step.

    Args:
        model_config: constructor arguments of `TransformerLM`.
        settings: of the run.
        train_tokens, valid_tokens: token ids, see `batching.open_tokens`.
        state: folder of the unfinished run.
        device: where the model lives.
        valid_bytes: bytes of text that the validation tokens stand for, for bits per byte; None leaves it out.
        on_row: called with each new row of the metrics.
    """

    def __init__(
        self,
        model_config: dict[str, Any],
        settings: TrainingSettings,
        train_tokens: Tokens,
        valid_tokens: Tokens,
        state: RunState,
        device: torch.device,
        valid_bytes: int | None = None,
        on_row: Callable[[Row], None] = lambda row: None,
    ):
        self.settings, self.state, self.device = settings, state, device
        self.train_tokens, self.valid_tokens, self.valid_bytes = train_tokens, valid_tokens, valid_bytes
        self.on_row = on_row
        self.context_length: int = model_config["context_length"]
        self.steps = settings.steps(self.context_length)
        self.dtype = resolve_dtype(settings.dtype, device)

        torch.manual_seed(settings.seed)
        self.model = TransformerLM(**model_config).to(device)
        self.model.gradient_checkpointing = settings.gradient_checkpointing
        self.optimizer = AdamW(
            self.model.parameters(),
            lr=settings.lr_max,
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
            weight_decay=settings.weight_decay,
        )
        self.step = 0
        self.rows: list[Row] = []
        self.loss_sum = torch.zeros((), device=device)  # of the steps since the last row
        self.grad_norm = torch.zeros((), device=device)
        self.elapsed_before = 0.0  # seconds in earlier processes

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from a state of `RunState`."""
        self.model.load_state_dict(saved["model_state_dict"])
        self.optimizer.load_state_dict(saved["optimizer_state_dict"])
        self.step, self.rows, self.elapsed_before = saved["iteration"], saved["rows"], saved["elapsed_s"]
        self.loss_sum, self.grad_norm = saved["loss_sum"].to(self.device), saved["grad_norm"].to(self.device)

    def run(self) -> list[Row]:
        """Train to the end; the rows of the metrics.

        Raises:
            MinlmError: the loss is no longer a number.
            Interrupted: SIGTERM or SIGINT arrived; the state is saved.
        """
        tokens_per_step = self.settings.batch_size * self.context_length
        log.info(
            f"train: {self.model.num_parameters():,} parameters, {self.steps:,} steps of {self.settings.batch_size} × "
            f"{self.context_length} tokens on {self.device} in {str(self.dtype).removeprefix('torch.')}, "
            f"{torch.get_num_threads()} threads"
        )
        self.started = self.row_started = time.perf_counter()
        self.row_step = self.step
        note = ""
        with (
            _signals_noted() as signals,
            Progress(self.steps * tokens_per_step, "training", "tokens", self.step * tokens_per_step) as progress,
        ):
            while self.step < self.steps:
                loss = self.train_step()
                if self.step % LOOK_EVERY == 0:
                    note = f"loss {self.check(loss):.3f}"
                if self.step % self.settings.eval_interval == 0 or self.step == self.steps:
                    self.add_row()
                if signals:
                    self.save()
                    raise Interrupted(signals[0])
                if self.step % self.settings.save_interval == 0 and self.step < self.steps:
                    self.save()
                progress.update(tokens_per_step, f"step {self.step:,}, {note}")
        return self.rows

    def train_step(self) -> Tensor:
        """One batch, one update; the loss, still on the device."""
        settings = self.settings
        lr = self.learning_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        inputs, targets = batch_at(
            self.train_tokens, settings.batch_size, self.context_length, self.device, settings.seed, self.step
        )
        with autocast(self.device, self.dtype):
            logits = self.model(inputs)  # (batch, context, vocab)
        loss = cross_entropy_loss(logits, targets)
        loss.backward()
        self.grad_norm = gradient_clipping(self.model.parameters(), settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.loss_sum += loss.detach()
        self.step += 1
        return loss.detach()

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine that ends with the run."""
        settings = self.settings
        return get_lr_cosine_schedule(step, settings.lr_max, settings.lr_min, settings.warmup_iters, self.steps)

    def check(self, loss: Tensor) -> float:
        """The loss as a number.

        Raises:
            MinlmError: it is not finite.
        """
        value = loss.item()
        if not math.isfinite(value):
            saved = "" if not self.state.checkpoint.exists() else f" The last good state is in {self.state.checkpoint}."
            raise MinlmError(
                f"the loss became {value} by step {self.step:,}.{saved} Lower training.lr_max, lengthen "
                "training.warmup_iters, or lower training.max_grad_norm."
            )
        return value

    def add_row(self) -> None:
        """Validate, and note where the run stands."""
        steps_since = self.step - (self.rows[-1]["iter"] if self.rows else 0)
        train_loss = self.check(self.loss_sum) / steps_since  # waits for the device
        seconds = time.perf_counter() - self.row_started
        tokens_per_step = self.settings.batch_size * self.context_length
        val_loss = validation_loss(
            self.model, self.valid_tokens, self.context_length, self.settings.batch_size, self.device, self.dtype
        )
        bits = val_loss * (len(self.valid_tokens) - 1) / math.log(2)
        self.rows.append(
            {
                "timestamp": now(),
                "iter": self.step,
                "lr": self.learning_rate(self.step - 1),
                "train_loss": train_loss,
                "val_loss": val_loss,
                "elapsed_s": round(self.elapsed(), 2),
                "tokens_seen": self.step * tokens_per_step,
                "tokens_per_s": round((self.step - self.row_step) * tokens_per_step / seconds),
                "grad_norm": self.grad_norm.item(),
                "val_bits_per_byte": "" if self.valid_bytes is None else bits / self.valid_bytes,
            }
        )
        write_metrics(self.state.metrics, self.rows)
        self.on_row(self.rows[-1])
        log.info(
            f"step {self.step:,}: train loss {train_loss:.3f}, validation loss {val_loss:.3f}"
            + ("" if self.valid_bytes is None else f" ({bits / self.valid_bytes:.3f} bits/byte)")
        )
        self.loss_sum.zero_()
        self.row_started, self.row_step = time.perf_counter(), self.step

    def save(self) -> None:
        """Write the state, unless it is spoiled."""
        self.check(self.loss_sum)
        self.state.save(
            {
                "iteration": self.step,
                "model_state_dict": self.model.state_dict(),
                "optimizer_state_dict": self.optimizer.state_dict(),
                "rows": self.rows,
                "loss_sum": self.loss_sum,
                "grad_norm": self.grad_norm,
                "elapsed_s": self.elapsed(),
            }
        )

    def elapsed(self) -> float:
        """Seconds of training so far, in all processes."""
        return self.elapsed_before + time.perf_counter() - self.started


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Within it SIGTERM and SIGINT only add their number to the list, so that a step is finished first."""
    noted: list[int] = []
    handlers = {
        number: signal.signal(number, lambda n, frame: noted.append(n)) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield noted
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
