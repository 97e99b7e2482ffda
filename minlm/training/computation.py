"""How a run is computed: kind of device, precision, compilation. They affect its rounding."""

import torch
from torch import Tensor, nn

from minlm.errors import MinlmError
from minlm.fast.transformer.compiling import (
    LanguageModelLoss,
    missing_for_compiling,
    resolve_compile,
    why_compiling_failed,
)
from minlm.progress import log
from minlm.training.device import DTYPES, resolve_dtype
from minlm.training.processes import Processes
from minlm.training.settings import TrainingSettings

THEN = ", then "


class Computation:
    """What "auto" means for one run, and what the run has really used.

    Args:
        settings: `dtype`, `compile` and `reference` are used.
        device: of the model.
        flops: floating-point operations of the whole run.

    Attributes:
        dtype: precision of matrix products.
        compiled: whether torch.compile is used.

    Raises:
        MinlmError: this machine cannot do what a setting asks for.
    """

    def __init__(self, settings: TrainingSettings, device: torch.device, flops: float):
        self.settings, self.device = settings, device
        automatic_dtype = "float32" if settings.reference else "auto"
        self.dtype = resolve_dtype(automatic_dtype if settings.dtype == "auto" else settings.dtype, device)
        self.compiled = not settings.reference and resolve_compile(settings.compile, device, flops)
        self._before: dict[str, str] = {}  # the `record` of the interrupted run that is continued
        self._tried = False

    def __str__(self) -> str:
        return f"{self._now()['dtype']}, {'compiled' if self.compiled else 'not compiled'}"

    def record(self) -> dict[str, str]:
        """Device, dtype and compile (on or off) so far; "x, then y" if one has changed."""
        values = {}
        for name, now in self._now().items():
            before = self._before.get(name, now)
            values[name] = before if before.split(THEN)[-1] == now else f"{before}{THEN}{now}"
        return values

    def continue_from(self, before: dict[str, str] | None) -> None:
        """Resolve "auto" as an interrupted run did, given its `record` (None in states of earlier versions).

        Differences that remain are logged: an explicit setting, another kind of device.
        """
        if before is None:
            return
        self._before = before
        last = {name: value.split(THEN)[-1] for name, value in before.items()}
        same_device = last["device"] == self.device.type  # on another kind of device, the numbers differ anyway
        if same_device and not self.settings.reference:
            if self.settings.dtype == "auto":
                self.dtype = DTYPES[last["dtype"]]
            if self.settings.compile == "auto":
                self.compiled = last["compile"] == "on"
        changes = [f"{name} {now} instead of {last[name]}" for name, now in self._now().items() if now != last[name]]
        if changes:
            log.info(f"from here on, rounding differs: {', '.join(changes)}")

    def loss(self, module: nn.Module, inputs: Tensor, targets: Tensor, processes: Processes) -> Tensor:
        """Call `module`, a `LanguageModelLoss` or a wrapper of one.

        The first call compiles. If that fails in any process, all processes continue uncompiled, with one warning.

        Raises:
            MinlmError: compilation fails, and `compile` is "on".
        """
        if self._tried or not self.compiled:
            loss: Tensor = module(inputs, targets)
            return loss
        self._tried = True
        why, result = missing_for_compiling(self.device), None
        if not why:
            try:
                result = module(inputs, targets)
            except Exception as error:  # if it is not the compiler's, it occurs again without the compiler
                why = why_compiling_failed(error)
        if not processes.any(bool(why)) and result is not None:
            return result
        why = why or "it failed in another process"
        if self.settings.compile == "on":
            raise MinlmError(f"compile on: torch.compile does not work here ({why}). Choose compile auto or off.")
        log.warning(f"warning: going on without torch.compile, which does not work here ({why})")
        self.compiled = False
        next(part for part in module.modules() if isinstance(part, LanguageModelLoss)).stop_compiling()
        return self.loss(module, inputs, targets, processes)

    def _now(self) -> dict[str, str]:
        dtype = str(self.dtype).removeprefix("torch.")
        return {"device": self.device.type, "dtype": dtype, "compile": "on" if self.compiled else "off"}
