"""Softmax and cross-entropy against torch's and in float64 by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from minlm.fast.transformer.loss import linear_cross_entropy
from minlm.transformer import cross_entropy_loss, softmax


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax_is_torchs_along_any_dimension(dim):
    x = torch.randn(3, 4, 5)
    torch.testing.assert_close(softmax(x, dim), torch.softmax(x, dim))


def test_softmax_of_huge_numbers():
    x = torch.tensor([1e30, 1e30, -1e30])
    assert softmax(x, 0).tolist() == [0.5, 0.5, 0.0]


def test_cross_entropy_by_its_definition():
    logits, targets = torch.randn(4, 5, 7), torch.randint(0, 7, (4, 5))
    total = 0.0
    for row, target in zip(logits.view(-1, 7).tolist(), targets.flatten().tolist(), strict=True):
        total += math.log(sum(math.exp(value) for value in row)) - row[target]
    assert float(cross_entropy_loss(logits, targets)) == pytest.approx(total / 20, abs=1e-5)


def test_cross_entropy_gradient_is_softmax_minus_one_hot():
    logits, targets = torch.randn(6, 7, requires_grad=True), torch.randint(0, 7, (6,))
    cross_entropy_loss(logits, targets).backward()
    expected = (torch.softmax(logits.detach(), -1) - F.one_hot(targets, 7)) / 6
    torch.testing.assert_close(logits.grad, expected)


def test_cross_entropy_of_huge_logits_is_finite():
    logits = torch.tensor([[1e6, 0.0], [0.0, 1e6]])
    assert float(cross_entropy_loss(logits, torch.tensor([0, 0]))) == pytest.approx(5e5)


def test_cross_entropy_is_float32_and_takes_one_position():
    assert cross_entropy_loss(torch.randn(2, 3, dtype=torch.bfloat16), torch.tensor([0, 1])).dtype == torch.float32
    assert float(cross_entropy_loss(torch.zeros(8), torch.tensor(3))) == pytest.approx(math.log(8))


@pytest.mark.parametrize("max_logits", [1, 33, 70, None])  # 1, 3, 6 and all 21 positions at a time
def test_the_loss_in_chunks_is_the_loss_of_all_logits(max_logits):
    hidden, weight = torch.randn(3, 7, 5, requires_grad=True), torch.randn(11, 5, requires_grad=True)
    targets = torch.randint(11, (3, 7))
    results = []
    for loss in (
        cross_entropy_loss(hidden @ weight.T, targets),
        linear_cross_entropy(hidden, weight, targets, max_logits),
    ):
        results.append([loss, *torch.autograd.grad(loss * 3.0, (hidden, weight))])
    for plain, chunked in zip(*results, strict=True):
        assert plain.shape == chunked.shape
        torch.testing.assert_close(plain, chunked)


def test_the_loss_in_chunks_without_gradients_and_of_huge_logits():
    hidden, weight, targets = torch.randn(4, 5) * 1e20, torch.randn(11, 5), torch.tensor([0, 3, 3, 10])
    with torch.inference_mode():
        loss = linear_cross_entropy(hidden, weight, targets, 22)
    assert loss.isfinite()
    torch.testing.assert_close(loss, cross_entropy_loss(hidden @ weight.T, targets))


def test_the_loss_in_chunks_under_autocast():
    hidden, weight = torch.randn(40, 16, requires_grad=True), torch.randn(11, 16, requires_grad=True)
    targets = torch.randint(11, (40,))
    exact = torch.autograd.grad(cross_entropy_loss(hidden @ weight.T, targets), (hidden, weight))
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(hidden, weight, targets, 110)
    assert loss.dtype == torch.float32
    for gradient, reference in zip(torch.autograd.grad(loss, (hidden, weight)), exact, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - reference).norm() < 0.02 * reference.norm()
        assert not torch.equal(gradient, reference)  # it was in bfloat16


def test_the_loss_in_chunks_never_holds_all_logits():
    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            result = function(*arguments, **(keywords or {}))
            if isinstance(result, torch.Tensor):
                self.numbers = max(self.numbers, result.numel())
            return result

    hidden, weight = torch.randn(300, 4, requires_grad=True), torch.randn(200, 4, requires_grad=True)
    with Largest() as largest:
        linear_cross_entropy(hidden, weight, torch.zeros(300, dtype=torch.int64), max_logits=5000).backward()
    assert largest.numbers <= 5000 < 300 * 200
