"""When torch.compile pays, what it needs, and the training loss that it compiles."""

import importlib.util
import math
import os
import shutil
import sysconfig
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._functorch import config as functorch_config

from minlm.errors import MinlmError
from minlm.fast.transformer.loss import linear_cross_entropy
from minlm.fast.transformer.model import TransformerLM as FastTransformerLM
from minlm.transformer.model import TransformerLM

# Floating-point operations above which compiling a run pays off: a few minutes of such a device.
WORTH_COMPILING = {"cpu": 8e13, "cuda": 5e15}
# On a CPU, recompute more instead of keeping it. torch.compile keeps it because a GPU would wait for the recomputation.
KEEP_LESS = {
    "ban_recompute_used_far_apart": False,
    "ban_recompute_long_fusible_chains": False,
    "ban_recompute_materialized_backward": False,
}
# Compile the backward pass with the first forward pass, so that a failure shows at once (torch 2.8 and later).
AT_ONCE = {name: True for name in ("force_non_lazy_backward_lowering",) if hasattr(functorch_config, name)}


class LanguageModelLoss(nn.Module):
    """`TransformerLM.loss` as a module, for DistributedDataParallel to wrap; compiled if asked for."""

    def __init__(self, model: TransformerLM, compiled: bool = False):
        super().__init__()
        self.model = model
        self.transform = torch.compile(model.transform) if compiled and isinstance(model, FastTransformerLM) else None

    def stop_compiling(self) -> None:
        """Compute without torch.compile from now on."""
        self.transform = None

    def forward(self, token_ids: Tensor, targets: Tensor) -> Tensor:
        """Ids and targets (batch, seq) → mean nats per token."""
        if self.transform is None or not isinstance(self.model, FastTransformerLM):
            return self.model.loss(token_ids, targets)
        # The embeddings are not compiled: torch.compile would add up their gradients one by one.
        x, mask = self.model.token_embeddings(token_ids), self.model.mask(token_ids.shape[-1])
        with functorch_config.patch(AT_ONCE | KEEP_LESS if x.device.type == "cpu" else AT_ONCE):
            hidden = self.transform(x, mask)
        return linear_cross_entropy(hidden, self.model.lm_head.weight, targets, compiled=True)


def training_flops_per_token(model: TransformerLM) -> int:
    """Floating-point operations of training on one token, forward and backward (Chowdhery et al. 2022, appendix B).

    6 for each weight of a matrix product and 12 · num_layers · d_model · context_length for attention.
    """
    config = model.config
    weights = model.num_parameters() - model.token_embeddings.weight.numel()  # an embedding lookup costs nothing
    return 6 * weights + 12 * config["num_layers"] * config["d_model"] * config["context_length"]


def resolve_compile(choice: str, device: torch.device, flops: float) -> bool:
    """Whether to train with torch.compile. "auto" compiles if the run is long enough.

    "auto" depends on the run and the kind of device only, not on threads, processes, installed software or
    measurements, so that a repeated run computes the same numbers.

    Args:
        choice: "on", "off" or "auto".
        device: of the model.
        flops: floating-point operations of the whole run.

    Raises:
        MinlmError: another choice; or "on" without a compiler.
    """
    if choice not in ("auto", "on", "off"):
        raise MinlmError(f"compile {choice}: choose auto, on or off.")
    if choice == "on" and (missing := missing_for_compiling(device)):
        raise MinlmError(f"compile on: torch.compile needs {missing}. Install it, or choose compile auto or off.")
    return choice == "on" or (choice == "auto" and flops > WORTH_COMPILING.get(device.type, math.inf))


def missing_for_compiling(device: torch.device) -> str:
    """What torch.compile needs and this machine lacks; "" if nothing."""
    if not shutil.which(os.environ.get("CXX", "g++")) and not shutil.which("clang++"):
        return "a C++ compiler such as g++"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's header files (the package python3-dev)"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton"
    return ""


def why_compiling_failed(error: Exception) -> str:
    """The first line of torch.compile's error and the compiler's first error; at most 300 characters."""
    error = getattr(error, "inner_exception", error)  # torch's wrapper of what the compiler raised
    lines = [line.strip() for line in f"{type(error).__name__}: {error}".splitlines()]
    of_compiler = next((f" ({line})" for line in lines[1:] if "error:" in line), "")
    return f"{lines[0]}{of_compiler}"[:300]
