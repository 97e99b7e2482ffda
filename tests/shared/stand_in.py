"""A device that no test machine has: tensors on torch's `meta` device that fail where `mps` or `cuda` would fail.

A `meta` tensor has a shape and no values; all operators of torch run on it. With this mode on,

- float64 on the device fails (MPS has none), and so does an operator that has no kernel for MPS;
- an operator fails that takes a tensor of the CPU, scalars aside, together with one of the device;
- a copy to the device fails if nothing waits for it (MPS may read the source after it is gone);
- reading a value on the device, which would make the program wait, is counted, and fails within `no_waiting`. The
  value is zero.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torchgen
import yaml
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("meta")
SHAPE_OF_VALUES = ("equal", "nonzero", "masked_select", "_unique2")


class StandIn(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.waits, self.may_wait, self.operators = 0, True, set()

    @contextmanager
    def no_waiting(self) -> Iterator[None]:
        self.may_wait = False
        try:
            yield
        finally:
            self.may_wait = True

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        if torch.is_inference_mode_enabled():  # otherwise autograd has already decomposed them
            with self:
                parts = function.decompose(*arguments, **keywords)
            if parts is not NotImplemented:
                return parts
        name = function.overloadpacket.__name__
        inputs = tensors_of((arguments, keywords))
        there = [tensor for tensor in inputs if tensor.device == DEVICE]
        if name not in ("_to_copy", "copy_"):
            here = [tensor for tensor in inputs if tensor.device != DEVICE and tensor.ndim > 0]
            assert not (there and here), f"{function} of {here[0].shape} on the CPU and {there[0].shape} on the device"
        assert not (there and name in SHAPE_OF_VALUES), f"{function}: a shape that depends on values"
        if there and name == "_local_scalar_dense":
            self.wait(function)
            return 0
        if there and name == "_to_copy" and torch.device(keywords.get("device", DEVICE)) != DEVICE:
            self.wait(function)
            return torch.zeros(arguments[0].shape, dtype=keywords.get("dtype") or arguments[0].dtype)
        if there and name == "copy_" and arguments[0].device != DEVICE:
            self.wait(function)
            return arguments[0].zero_()
        result = None if name == "_fused_adamw_" and there else function(*arguments, **keywords)  # has none for meta
        after = [tensor for tensor in tensors_of(result) if tensor.device == DEVICE]
        if after and name in ("_to_copy", "copy_") and len(there) < len(inputs):
            assert not keywords.get("non_blocking"), f"{function}: MPS may read the source after it is gone"
        if there or after:
            assert all(tensor.dtype != torch.float64 for tensor in there + after), f"{function}: float64"
            self.operators.add(function)
        return result

    def wait(self, function) -> None:
        assert self.may_wait, f"{function} waits for the device"
        self.waits += 1


def tensors_of(values) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


@functools.cache
def operators_of_mps() -> set[str]:
    """The operators that have a kernel for MPS in torch's own list."""
    listed = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    entries = yaml.load(listed.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    kernels = {entry["func"].partition("(")[0]: entry for entry in entries}

    def has_kernel(entry) -> bool:
        if "structured_delegate" in entry:
            return has_kernel(kernels[entry["structured_delegate"]])
        keys = {key.strip() for keys in entry.get("dispatch", {"Composite": ""}) for key in keys.split(",")}
        return "MPS" in keys or any(key.startswith("Composite") for key in keys)

    return {name for name, entry in kernels.items() if has_kernel(entry)}
