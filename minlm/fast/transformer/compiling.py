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

# Floating-point operations of a run from which on torch.compile pays: what such a device does in a few minutes.
WORTH_COMPILING = {"cpu": 8e13, "cuda": 5e15}
# torch.compile keeps some of what it could compute again from its neighbors, because a GPU would have to wait for it.
KEEP_LESS = {
    "ban_recompute_used_far_apart": False,
    "ban_recompute_long_fusible_chains": False,
    "ban_recompute_materialized_backward": False,
}
# The backward pass is compiled with the first forward pass, so that all that can fail fails there (torch >= 2.8).
AT_ONCE = {name: True for name in ("force_non_lazy_backward_lowering",) if hasattr(functorch_config, name)}


class LanguageModelLoss(nn.Module):
    """`TransformerLM.loss` as a module, which is what DistributedDataParallel wraps; perhaps compiled."""

    def __init__(self, model: TransformerLM, compiled: bool = False):
        super().__init__()
        self.model = model
        self.transform = torch.compile(model.transform) if compiled and isinstance(model, FastTransformerLM) else None

    def stop_compiling(self) -> None:
        """From now on compute without torch.compile."""
        self.transform = None

    def forward(self, token_ids: Tensor, targets: Tensor) -> Tensor:
        """Ids and targets (batch, seq) → mean nats per token."""
        if self.transform is None or not isinstance(self.model, FastTransformerLM):
            return self.model.loss(token_ids, targets)
        # The embeddings stay out of what is compiled: torch.compile adds their gradients up one by one.
        x, mask = self.model.token_embeddings(token_ids), self.model.mask(token_ids.shape[-1])
        with functorch_config.patch(AT_ONCE | KEEP_LESS if x.device.type == "cpu" else AT_ONCE):
            hidden = self.transform(x, mask)
        return linear_cross_entropy(hidden, self.model.lm_head.weight, targets, compiled=True)


def training_flops_per_token(model: TransformerLM) -> int:
    """Floating-point operations of training on one token, forward and backward (Chowdhery et al. 2022, appendix B).

    6 for each weight of a matrix product and 12 · num_layers · d_model · context_length for attention.
    """
    config = model.config
    weights = model.num_parameters() - model.token_embeddings.weight.numel()  # looking up an embedding costs nothing
    return 6 * weights + 12 * config["num_layers"] * config["d_model"] * config["context_length"]


def resolve_compile(choice: str, device: torch.device, flops: float) -> bool:
    """Whether to train with torch.compile: "on", "off" or "auto", which compiles when the run is long enough.

    The answer to "auto" is a function of the run and the kind of device alone: threads, processes, what is installed
    and measurements do not count, so that a run that is made again computes the same numbers.

    Args:
        choice: see above.
        device: of the model.
        flops: floating-point operations of the whole run.

    Raises:
        MinlmError: another choice; or "on", and a compiler is missing.
    """
    if choice not in ("auto", "on", "off"):
        raise MinlmError(f"compile {choice}: choose auto, on or off.")
    if choice == "on" and (missing := missing_for_compiling(device)):
        raise MinlmError(f"compile on: torch.compile needs {missing}. Install it, or choose compile auto or off.")
    return choice == "on" or (choice == "auto" and flops > WORTH_COMPILING.get(device.type, math.inf))


def missing_for_compiling(device: torch.device) -> str:
    """What torch.compile needs and this machine lacks, or ""."""
    if not shutil.which(os.environ.get("CXX", "g++")) and not shutil.which("clang++"):
        return "a C++ compiler such as g++"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's header files (the package python3-dev)"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton"
    return ""


def why_compiling_failed(error: Exception) -> str:
    """The first line of what torch.compile says, with the compiler's own first error; at most 300 characters."""
    error = getattr(error, "inner_exception", error)  # torch's wrapper of what the compiler raised
    lines = [line.strip() for line in f"{type(error).__name__}: {error}".splitlines()]
    of_compiler = next((f" ({line})" for line in lines[1:] if "error:" in line), "")
    return f"{lines[0]}{of_compiler}"[:300]
