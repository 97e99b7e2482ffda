"""The settings of a training run, apart from the model's shape and the tokens."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from minlm.errors import MinlmError
from minlm.pipeline import settings
from minlm.pipeline.consistency import training_problems


@dataclass(kw_only=True)
@settings.with_defaults("training")
class TrainingSettings:
    """The section `training` of the configuration: docs/configuration.md describes each setting.

    The defaults are those of the schema, minlm/pipeline/config.schema.yaml. Intervals are in steps.

    Raises:
        MinlmError: a value that the schema does not allow.
    """

    batch_size: int
    total_tokens: int
    lr_max: float
    lr_min: float
    schedule: str
    warmup_iters: int
    weight_decay: float
    max_grad_norm: float
    beta1: float
    beta2: float
    eps: float
    seed: int
    look_back_init: bool
    dtype: str
    eval_interval: int
    eval_tokens: int
    compile: str
    grad_accum_steps: int
    gradient_checkpointing: bool
    reference: bool
    save_interval: int
    keep_checkpoints: list[int]
    keep_best: bool

    def __post_init__(self) -> None:
        settings.check("training", vars(self))

    def steps(self, context_length: int) -> int:
        """Number of steps; `total_tokens` is rounded down to whole steps of batch_size × context_length tokens.

        Raises:
            MinlmError: settings that do not fit together, for example too few tokens for one step.
        """
        for problem in training_problems(vars(self), context_length):
            raise MinlmError(f"--{problem}")
        return self.total_tokens // (self.batch_size * context_length)

    def stated(self) -> dict[str, Any]:
        """The settings that the result depends on, for the checkpoint and the fingerprint of a run."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if f"training.{name}" not in settings.rerun_nothing()}
