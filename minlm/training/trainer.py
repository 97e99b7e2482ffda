"""The training loop: batches in, a model and its metrics out, exact across interruptions.

Everything that decides the next step is either a function of (settings, step), like the batch and the learning rate,
or part of the saved state: weights, optimizer, the loss summed since the last row, the rows. A run that was killed and
continued therefore gives the same bytes as an undisturbed one.
"""

import json
import math
import signal
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from minlm.errors import MinlmError
from minlm.fast.transformer.compiling import LanguageModelLoss, training_flops_per_token
from minlm.progress import Progress, log
from minlm.reading import reading
from minlm.training import forms
from minlm.training.computation import Computation
from minlm.training.conversations import training_batch
from minlm.training.device import autocast
from minlm.training.evaluation import num_targets, validation_loss
from minlm.training.metrics import Row, loss_since_validation, now, write_metrics
from minlm.training.processes import Processes
from minlm.training.settings import TrainingSettings
from minlm.training.signals import Interrupted, StopSignals
from minlm.training.state import RunState
from minlm.training.timetable import ROW_INTERVAL, Timetable
from minlm.transformer.checks import spoiled_weight
from minlm.transformer.data import Tokens


class Trainer:
    """Trains a model from its initial weights to the last step.

    Args:
        model_config: constructor arguments of `TransformerLM`.
        settings: see `TrainingSettings`.
        train_tokens, valid_tokens: token ids, see `tokens.open_tokens`.
        state: where the unfinished run is saved; None saves nothing.
        device: of the model.
        valid_bytes: bytes of text in the validation's targets, for bits per byte; None or 0 leaves that column empty.
        processes: the processes that train together; only the first one needs a state.
        start: gives the model weights that it does not start from at random.

    Raises:
        MinlmError: the settings do not fit each other or this machine.
    """

    def __init__(
        self,
        model_config: dict[str, Any],
        settings: TrainingSettings,
        train_tokens: Tokens,
        valid_tokens: Tokens,
        state: RunState | None,
        device: torch.device,
        valid_bytes: int | None = None,
        processes: Processes | None = None,
        start: Callable[[Any], None] | None = None,
    ):
        self.settings, self.state, self.device = settings, state, device
        self.processes = processes or Processes()
        self.train_tokens, self.valid_tokens, self.valid_bytes = train_tokens, valid_tokens, valid_bytes
        self.on_row: list[Callable[[Row], None]] = []
        self.keep: Callable[[str], None] = lambda name: None  # called with "best" or the number of a step
        self.context_length: int = model_config["context_length"]
        self.steps = settings.steps(self.context_length)
        self.due = Timetable(settings, self.steps)
        self.parts = settings.grad_accum_steps * self.processes.count  # equal parts of a batch
        if settings.batch_size % self.parts:
            raise MinlmError(
                f"--batch_size {settings.batch_size} does not divide into {self.processes.count} processes × "
                f"{settings.grad_accum_steps} grad_accum_steps equal parts. Change one of them."
            )

        self.model = forms.initial_model(model_config, settings, start).to(device)
        self.clip_gradients = forms.clipping(settings)
        self.optimizer = forms.optimizer_of(self.model, settings)
        flops = self.steps * settings.batch_size * self.context_length * training_flops_per_token(self.model)
        self.computation = Computation(settings, device, flops)
        self.loss: nn.Module | None = None  # made at the first step, after `restore`
        self.step = 0
        self.rows: list[Row] = []
        self.loss_sum = 0.0  # of the steps since the last row whose loss has been read
        self.grad_norm = 0.0  # of the last of them, before clipping
        self.unread: list[Tensor] = []  # loss and gradient norm of the other steps, on the device
        # Seconds in earlier processes: in total, and of training since the last row.
        self.elapsed_before = self.since_row_before = 0.0

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from a state that `RunState` has loaded.

        Raises:
            DamagedFileError: it is not a state of this run. The trainer must then be made anew.
        """
        place = self.state.checkpoint if self.state else "the state of the run"
        with reading(place, "a state of this run", "Leave --resume out."):
            self.model.load_state_dict(saved["model_state_dict"])
            self.optimizer.load_state_dict(saved["optimizer_state_dict"])
            for weight, values in self.optimizer.state.items():
                expected = self.optimizer.first_state(weight)
                if {name: values[name].shape for name in expected} != {name: v.shape for name, v in expected.items()}:
                    raise ValueError("the optimizer's state is of another shape")
            rows = saved["rows"]  # a list in states of earlier versions
            self.step, self.rows = int(saved["iteration"]), json.loads(rows) if isinstance(rows, str) else list(rows)
            if not (0 <= self.step <= self.steps and all(0 < row["iter"] <= self.step for row in self.rows)):
                raise ValueError("its steps do not fit this run")
            self.elapsed_before, self.since_row_before = float(saved["elapsed_s"]), float(saved["since_row_s"])
            self.loss_sum, self.grad_norm = float(saved["loss_sum"]), float(saved["grad_norm"])
            self.computation.continue_from(saved.get("computed"))

    def log_rows_to(self, on_row: Callable[[Row], None]) -> None:
        """Call `on_row` with each row of the metrics, beginning with those of the interrupted run."""
        for row in self.rows:
            on_row(row)
        self.on_row.append(on_row)

    def run(self) -> list[Row]:
        """Train to the last step and return the rows of the metrics.

        Raises:
            MinlmError: the loss, a gradient or a weight became NaN or infinite.
            Interrupted: SIGTERM or SIGINT arrived; the state is saved.
        """
        self.started = time.perf_counter()
        self.row_started = self.started - self.since_row_before
        note = ""
        with StopSignals() as signals, Progress(self.steps, "training", "steps", self.step) as progress:
            try:
                while True:
                    if self.due.row(self.step) and not (self.rows and self.rows[-1]["iter"] == self.step):
                        self.add_row(signals)
                    if self.step == self.steps:
                        self.check_weights()
                        return self.rows
                    self.train_step()
                    self.stop_together(signals)
                    if self.step % ROW_INTERVAL == 0:
                        note = f"loss {self.read_losses():.3f}, {self.tokens_per_second():,.0f} tokens/s"
                    if self.step in self.settings.keep_checkpoints:
                        self.keep(str(self.step))
                    if self.due.save(self.step):
                        self.save()
                    progress.update(1, note)
            except Interrupted:
                self.save()
                raise

    def stop_together(self, signals: StopSignals) -> None:
        """Raise `Interrupted` in all processes, after the same step, if a signal has reached any of them."""
        if self.processes.any(signals.received is not None):
            raise Interrupted(signals.received or signal.SIGTERM)

    def train_step(self) -> None:
        """One batch, one update. Nothing here waits for the device."""
        settings = self.settings
        lr = self.due.learning_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if self.loss is None:
            self.loss = self.processes.share_gradients(
                LanguageModelLoss(self.model, self.computation.compiled), self.device
            )
        loss = torch.zeros((), device=self.device)
        for part in range(settings.grad_accum_steps):
            inputs, targets, scale = training_batch(
                self.train_tokens, settings.batch_size, self.context_length, self.device, settings.seed, self.step,
                self.processes.rank * settings.grad_accum_steps + part, self.parts,
            )  # fmt: skip
            last = part == settings.grad_accum_steps - 1
            with nullcontext() if last else self.processes.without_sharing(self.loss):
                with autocast(self.device, self.computation.dtype):
                    part_loss = self.computation.loss(self.loss, inputs, targets, self.processes)
                    part_loss = scale * part_loss / settings.grad_accum_steps
                part_loss.backward()
            loss += part_loss.detach()
        grad_norm = self.clip_gradients(self.model.parameters(), settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.unread.append(torch.stack((loss, grad_norm)))
        self.step += 1

    def read_losses(self) -> float:
        """Read the losses that are still on the device; return their mean (NaN if there are none).

        Raises:
            MinlmError: a loss or a gradient was not finite, so the weights are useless.
        """
        if not self.unread:
            return math.nan
        # The mean over the processes. This waits for the device.
        values = (self.processes.sum(torch.stack(self.unread)) / self.processes.count).tolist()
        first = self.step - len(values) + 1
        for step, (loss, norm) in enumerate(values, first):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self.fail(f"loss became {loss}" if not math.isfinite(loss) else f"gradient's norm became {norm}", step)
        self.unread.clear()
        for loss, norm in values:
            self.loss_sum, self.grad_norm = self.loss_sum + loss, norm
        return sum(loss for loss, _ in values) / len(values)

    def check_weights(self) -> None:
        """Refuse weights that are not finite: after the last update no loss would show it."""
        if name := spoiled_weight(self.model):
            self.fail(f"weight {name} became NaN or infinite", self.step)

    def fail(self, what: str, step: int) -> NoReturn:
        """Raise the error of a run that has diverged; the last saved state stays."""
        saved = f" The last good state is {path}." if (path := self.state and self.state.saved()) else ""
        raise MinlmError(
            f"the {what} at step {step:,}.{saved} Train with a lower lr_max, more warmup_iters or a lower "
            "max_grad_norm."
        )

    def add_row(self, signals: StopSignals) -> None:
        """Add a row to the metrics, with a validation if it is due."""
        self.read_losses()
        row: Row = {
            "timestamp": now(),
            "iter": self.step,
            "lr": self.due.learning_rate(self.step - 1),
            "train_loss": self.loss_sum / self.steps_since_row(),
            "val_loss": None,
            "elapsed_s": 0.0,
            "tokens_seen": self.step * self.settings.batch_size * self.context_length,
            "tokens_per_s": round(self.tokens_per_second()),
            "grad_norm": self.grad_norm,
            "val_bits_per_byte": None,
        }
        if self.due.validation(self.step):
            row |= self.validate(signals)
        row["elapsed_s"] = round(self.elapsed(), 2)
        self.rows.append(row)
        for log_row in self.on_row:
            log_row(row)
        if self.due.validation(self.step):
            self.report_row(row)
            if self.settings.keep_best and row["val_loss"] <= min(r["val_loss"] for r in self.rows if r["val_loss"]):
                self.keep("best")
        self.loss_sum = 0.0
        self.row_started = time.perf_counter()

    def validate(self, signals: StopSignals) -> Row:
        """The columns of the metrics that come from a validation; a signal breaks it off."""
        # No process may leave a validation that several share.
        with signals.raising() if self.processes.count == 1 else nullcontext():
            val_loss = validation_loss(
                self.model, self.valid_tokens, self.context_length, self.settings.batch_size, self.device,
                self.computation.dtype, self.processes, self.settings.eval_tokens,
            )  # fmt: skip
        if not math.isfinite(val_loss):
            self.fail(f"validation loss became {val_loss}", self.step)
        bits_per_byte = None
        if self.valid_bytes:
            targets = num_targets(self.valid_tokens, self.context_length, self.settings.eval_tokens)
            bits_per_byte = val_loss * targets / math.log(2) / self.valid_bytes
        return {"val_loss": val_loss, "val_bits_per_byte": bits_per_byte}

    def report_row(self, row: Row) -> None:
        """Write the metrics so far and a line about a row with a validation."""
        if self.state is not None:
            write_metrics(self.state.metrics, self.rows)
        bits_per_byte, train_loss = row["val_bits_per_byte"], loss_since_validation(self.rows)
        log.info(
            f"step {self.step:,}: train loss {train_loss:.3f}, validation loss {row['val_loss']:.3f}"
            + ("" if bits_per_byte is None else f" ({bits_per_byte:.3f} bits/byte)")
        )

    def save(self) -> None:
        """Start to save the state, unless the run has diverged."""
        self.read_losses()
        self.check_weights()
        if self.state is None:
            return
        self.state.save(
            {
                "iteration": self.step,
                "computed": self.computation.record(),
                "model_state_dict": self.model.state_dict(),
                "optimizer_state_dict": self.optimizer.state_dict(),
                "rows": json.dumps(self.rows),  # as one text: a pickle of many dicts takes seconds
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
        """Speed since the last row, without validation."""
        tokens = self.steps_since_row() * self.settings.batch_size * self.context_length
        return tokens / (time.perf_counter() - self.row_started)

    def elapsed(self) -> float:
        """Seconds of training so far, those before interruptions included."""
        return self.elapsed_before + time.perf_counter() - self.started
