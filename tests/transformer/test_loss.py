"""Softmax and cross-entropy against torch's and in float64 by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

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
