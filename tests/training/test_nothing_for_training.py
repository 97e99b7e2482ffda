"""Validation, sampling and serving compute nothing that only training needs."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from minlm.fast.transformer import TransformerLM
from minlm.fast.transformer.loss import linear_cross_entropy
from minlm.generation.batched import Request, stream
from minlm.training.evaluation import validation_loss

MODEL = {"vocab_size": 61, "context_length": 130, "d_model": 32, "num_layers": 2, "num_heads": 2, "d_ff": 48}
PRODUCTS = {"mm", "bmm", "addmm", "addmm_", "baddbmm"}
LINEAR = 2 * 7  # q, k, v, output, w1, w2, w3 of both layers


class Operators(TorchDispatchMode):
    """Counts what reaches the device."""

    def __init__(self):
        super().__init__()
        self.names, self.products, self.largest, self.outputs = Counter(), 0, 0, Counter()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        if torch.is_inference_mode_enabled():  # otherwise autograd has already decomposed them
            with self:
                parts = function.decompose(*arguments, **(keywords or {}))
            if parts is not NotImplemented:
                return parts
        name = function.overloadpacket.__name__
        self.names[name] += 1
        self.products += name in PRODUCTS
        result = function(*arguments, **(keywords or {}))
        self.outputs[name] += len(result) if isinstance(result, list) else 1
        if isinstance(result, torch.Tensor):
            self.largest = max(self.largest, result.numel())
        return result


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TransformerLM(**MODEL)


@pytest.mark.parametrize("without_gradients", [torch.inference_mode, torch.no_grad])
@pytest.mark.parametrize("max_logits", [100_000, 1_000])
def test_the_loss_without_gradients_is_one_product_per_chunk(without_gradients, max_logits):
    hidden, weight = torch.randn(64, 8, requires_grad=True), torch.nn.Parameter(torch.randn(61, 8))
    targets = torch.randint(0, 61, (64,))
    with without_gradients(), Operators() as seen:
        loss = linear_cross_entropy(hidden, weight, targets, max_logits)
    assert seen.products == {100_000: 1, 1_000: 4}[max_logits]
    torch.testing.assert_close(loss, linear_cross_entropy(hidden, weight, targets, max_logits).detach())
    assert not loss.requires_grad


@pytest.mark.parametrize(("flash_attention", "dtype"), [(False, torch.float32), (True, torch.bfloat16)])
def test_a_validation_batch_is_a_forward_pass(flash_attention, dtype):
    """Every weight and the two products of attention once; nothing is kept or computed again for a backward pass."""
    model = TransformerLM(**MODEL, flash_attention=flash_attention)
    model.gradient_checkpointing = True
    tokens = np.arange(4 * 130 + 1) % 61
    with Operators() as seen:
        validation_loss(model, tokens, 130, batch_size=4, dtype=dtype)
    assert seen.products == LINEAR + (0 if flash_attention else 2 * 2) + 1
    assert seen.outputs["causal_attention"] == (2 if flash_attention else 0)  # one per layer, and no attention weights
    assert not {name for name in seen.names if "backward" in name}


def test_a_new_token_is_one_position_through_each_weight(model):
    steps = stream(model, Request([1, 2, 3], temperature=1.0, seed=0), 3)
    next(steps)
    with Operators() as seen:
        next(steps)
    assert seen.products == LINEAR + 2 * 2 + 1
    assert seen.largest <= 2 * 130 * 16  # the cache of one layer: no weight is copied, no activation kept
