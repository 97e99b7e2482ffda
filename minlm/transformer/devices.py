"""Copying tensors to where a model is."""

import torch
from torch import Tensor

from minlm.transformer.modules import Device


def move(tensor: Tensor, device: Device) -> Tensor:
    """Copy a CPU tensor to `device`; with CUDA, nothing waits for the copy.

    Elsewhere the copy is waited for: MPS could read the memory after it is freed (pytorch/pytorch#139550).
    """
    if torch.device(device or "cpu").type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
