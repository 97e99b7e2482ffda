"""What is due at each step of a run: a pure function of its settings."""

from minlm.training import forms
from minlm.training.settings import TrainingSettings
from minlm.transformer.classic import decay_start

ROW_INTERVAL = 10  # steps; each time, reading the losses waits for the device


class Timetable:
    """The timetable of a run of `steps` steps; `step` is the number of steps done."""

    def __init__(self, settings: TrainingSettings, steps: int):
        self.settings, self.steps = settings, steps

    def learning_rate(self, step: int) -> float:
        """The learning rate of the next step: linear warm-up, then the chosen curve, which ends with the run."""
        settings = self.settings
        schedule = forms.SCHEDULES[settings.schedule]
        return schedule(step, settings.lr_max, settings.lr_min, settings.warmup_iters, self.steps)

    def row(self, step: int) -> bool:
        """Whether the metrics get a row: at each validation, every tenth step, and at 1, 2, 4 and 8."""
        early = step < ROW_INTERVAL and step.bit_count() == 1
        return early or (step > 0 and step % ROW_INTERVAL == 0) or self.validation(step)

    def validation(self, step: int) -> bool:
        """Whether the row has a validation loss."""
        return step > 0 and (step % self.settings.eval_interval == 0 or step == self.steps)

    def save(self, step: int) -> bool:
        """Whether the state is saved: now and then, and for a longer run when the decay begins."""
        settings = self.settings
        if settings.schedule == "wsd" and step == decay_start(settings.warmup_iters, self.steps):
            return True
        return step % settings.save_interval == 0 and step < self.steps
