"""One training loop: batches in, a model and its curve out, exact across interruptions.

Everything that decides the next step is either a function of (settings, step), like the batch and the learning rate,
or in the saved state: weights, optimizer, the loss gathered since the last row, the rows. So a run that was killed
and continued gives the same bytes as one that was left alone.
"""

import math
import time
from collections.abc import Callable
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
from minlm.transformer.settings import TrainingSettings
from minlm.transformer.stop_signals import Interrupted, StopSignals

LOOK_EVERY = 10  # steps between two looks at the loss; each look waits for the device


class Trainer:
    """A model on its way from `settings.seed` to the last step.

    Args:
        model_config: constructor arguments of `TransformerLM`.
        settings: of the run.
        train_tokens, valid_tokens: token ids, see `batching.open_tokens`.
        state: folder of the unfinished run.
        device: where the model lives.
        valid_bytes: bytes of text that the validation tokens stand for, for bits per byte; None or 0 leaves it out.
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
    ):
        self.settings, self.state, self.device = settings, state, device
        self.train_tokens, self.valid_tokens, self.valid_bytes = train_tokens, valid_tokens, valid_bytes
        self.on_row: Callable[[Row], None] = lambda row: None
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
        self.grad_norm = torch.zeros((), device=device)  # of the last step, before clipping
        self.unseen: list[Tensor] = []  # loss and gradient norm of each step since the last look
        # Seconds in earlier processes: all of them, and those of training since the last row.
        self.elapsed_before = self.since_row_before = 0.0

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from a state of `RunState`."""
        self.model.load_state_dict(saved["model_state_dict"])
        self.optimizer.load_state_dict(saved["optimizer_state_dict"])
        self.step, self.rows = saved["iteration"], saved["rows"]
        self.elapsed_before, self.since_row_before = saved["elapsed_s"], saved["since_row_s"]
        self.loss_sum, self.grad_norm = saved["loss_sum"].to(self.device), saved["grad_norm"].to(self.device)

    def log_rows_to(self, on_row: Callable[[Row], None]) -> None:
        """Call `on_row` with each row of the metrics, those of the interrupted run first."""
        for row in self.rows:
            on_row(row)
        self.on_row = on_row

    def run(self) -> list[Row]:
        """Train to the end; the rows of the metrics.

        Raises:
            MinlmError: the loss is no longer a number.
            Interrupted: SIGTERM or SIGINT arrived; the state is saved.
        """
        tokens_per_step = self.settings.batch_size * self.context_length
        log.info(
            f"train: {self.model.num_parameters():,} parameters, {self.steps:,} steps of {self.settings.batch_size} × "
            f"{self.context_length} = {self.steps * tokens_per_step:,} tokens on {self.device} in "
            f"{str(self.dtype).removeprefix('torch.')}, {torch.get_num_threads()} threads"
        )
        self.started = time.perf_counter()
        self.row_started = self.started - self.since_row_before
        note = ""
        with StopSignals() as signals, Progress(self.steps, "training", "steps", self.step) as progress:
            try:
                while True:
                    if self.row_is_due():
                        self.add_row(signals)
                    if self.step == self.steps:
                        return self.rows
                    self.train_step()
                    signals.check()
                    if self.step % LOOK_EVERY == 0:
                        note = f"loss {self.look():.3f}, {self.tokens_per_second():,.0f} tokens/s"
                    if self.step % self.settings.save_interval == 0 and self.step < self.steps:
                        self.save()
                    progress.update(1, note)
            except Interrupted:
                self.save()
                raise

    def train_step(self) -> None:
        """One batch, one update; nothing waits for the device."""
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
        self.unseen.append(torch.stack((loss.detach(), self.grad_norm)))
        self.step += 1

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine that ends with the run."""
        settings = self.settings
        return get_lr_cosine_schedule(step, settings.lr_max, settings.lr_min, settings.warmup_iters, self.steps)

    def look(self) -> float:
        """The mean loss of the steps since the last look (NaN if there were none).

        Raises:
            MinlmError: the loss or the gradient of one of them was not finite, so the weights are spoiled.
        """
        if not self.unseen:
            return math.nan
        values = torch.stack(self.unseen).tolist()  # waits for the device
        first = self.step - len(values) + 1
        for step, (loss, norm) in enumerate(values, first):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                what = f"loss became {loss}" if not math.isfinite(loss) else f"gradient's norm became {norm}"
                saved = f" The last good state is {self.state.checkpoint}." if self.state.checkpoint.exists() else ""
                raise MinlmError(
                    f"the {what} at step {step:,}.{saved} Train with a lower lr_max, more warmup_iters or a lower "
                    "max_grad_norm."
                )
        self.unseen.clear()
        return sum(loss for loss, _ in values) / len(values)

    def row_is_due(self) -> bool:
        """Whether the metrics lack a row of this step."""
        if self.step == 0 or (self.rows and self.rows[-1]["iter"] == self.step):
            return False
        return self.step % self.settings.eval_interval == 0 or self.step == self.steps

    def add_row(self, signals: StopSignals) -> None:
        """Validate, and note where the run stands; a signal breaks off the validation."""
        self.look()
        train_loss = self.loss_sum.item() / self.steps_since_row()
        tokens_per_second = self.tokens_per_second()
        with signals.raising():
            val_loss = validation_loss(
                self.model, self.valid_tokens, self.context_length, self.settings.batch_size, self.device, self.dtype
            )
        bits_per_byte = None
        if self.valid_bytes:
            bits_per_byte = val_loss * (len(self.valid_tokens) - 1) / math.log(2) / self.valid_bytes
        self.rows.append(
            {
                "timestamp": now(),
                "iter": self.step,
                "lr": self.learning_rate(self.step - 1),
                "train_loss": train_loss,
                "val_loss": val_loss,
                "elapsed_s": round(self.elapsed(), 2),
                "tokens_seen": self.step * self.settings.batch_size * self.context_length,
                "tokens_per_s": round(tokens_per_second),
                "grad_norm": self.grad_norm.item(),
                "val_bits_per_byte": bits_per_byte,
            }
        )
        write_metrics(self.state.metrics, self.rows)
        self.on_row(self.rows[-1])
        log.info(
            f"step {self.step:,}: train loss {train_loss:.3f}, validation loss {val_loss:.3f}"
            + ("" if bits_per_byte is None else f" ({bits_per_byte:.3f} bits/byte)")
        )
        self.loss_sum.zero_()
        self.row_started = time.perf_counter()

    def save(self) -> None:
        """Write the state, unless it is spoiled."""
        self.look()
        self.state.save(
            {
                "iteration": self.step,
                "model_state_dict": self.model.state_dict(),
                "optimizer_state_dict": self.optimizer.state_dict(),
                "rows": self.rows,
                "loss_sum": self.loss_sum,
                "grad_norm": self.grad_norm,
                "elapsed_s": self.elapsed(),
                "since_row_s": time.perf_counter() - self.row_started,
            }
        )

    def steps_since_row(self) -> int:
        """Steps since the last row of the metrics."""
        return self.step - (self.rows[-1]["iter"] if self.rows else 0)

    def tokens_per_second(self) -> float:
        """Speed since the last row, validation not counted."""
        tokens = self.steps_since_row() * self.settings.batch_size * self.context_length
        return tokens / (time.perf_counter() - self.row_started)

    def elapsed(self) -> float:
        """Seconds of training so far, in all processes."""
        return self.elapsed_before + time.perf_counter() - self.started
