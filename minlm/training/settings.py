"""What a training run depends on besides the model's shape and the tokens."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from minlm.errors import MinlmError

HOW = ("compile", "grad_accum_steps", "gradient_checkpointing", "reference", "save_interval")  # not what


@dataclass(kw_only=True)
class TrainingSettings:
    """The settings of a run; intervals are in steps.

    `total_tokens` are rounded down to whole steps of batch_size × context_length. `dtype` is the precision of matrix
    products (auto, float32, bfloat16). The last four change how the run is computed, not what it computes: `compile`
    (auto, on, off; see `device.resolve_compile`), the number of parts in which the gradient of a batch is gathered
    (`grad_accum_steps`), recomputing activations (`gradient_checkpointing`) and how often the state is saved.
    """

    batch_size: int
    total_tokens: int
    lr_max: float
    lr_min: float
    warmup_iters: int
    weight_decay: float
    max_grad_norm: float
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    seed: int = 0
    dtype: str = "auto"
    eval_interval: int = 500
    compile: str = "auto"
    grad_accum_steps: int = 1
    gradient_checkpointing: bool = False
    save_interval: int = 500
    reference: bool = False

    def steps(self, context_length: int) -> int:
        """Number of steps.

        Raises:
            MinlmError: there is not even one, the warm-up is longer than the run, or a value is out of range.
        """
        for name in ("batch_size", "eval_interval", "grad_accum_steps", "save_interval"):
            if getattr(self, name) < 1:
                raise MinlmError(f"--{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("lr_max", "max_grad_norm", "eps"):
            if not 0 < getattr(self, name) < math.inf:
                raise MinlmError(f"--{name} must be a number above 0, not {getattr(self, name)}.")
        for name in ("lr_min", "warmup_iters", "weight_decay", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise MinlmError(f"--{name} must be a number of at least 0, not {getattr(self, name)}.")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise MinlmError(f"--{name} must be at least 0 and below 1, not {getattr(self, name)}.")
        if self.batch_size % self.grad_accum_steps:
            raise MinlmError(
                f"--batch_size {self.batch_size} does not divide into --grad_accum_steps {self.grad_accum_steps} equal "
                "parts. Change one of them."
            )
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
        return {name: value for name, value in values.items() if name not in HOW}
