"""Accumulation, recomputation, attention kernels, precision and compilation do not change the result."""

import functools
import itertools

import numpy as np
import pytest
import torch

from minlm.fast.transformer.loss import _compiled, linear_cross_entropy
from minlm.training.run import train
from minlm.training.settings import TrainingSettings
from minlm.training.trainer import Trainer
from minlm.transformer import cross_entropy_loss

MODEL = {"vocab_size": 61, "context_length": 130, "d_model": 32, "num_layers": 1, "num_heads": 2, "d_ff": 48}
TOKENS = np.random.default_rng(0).integers(0, 61, 5000).astype(np.uint16)
DTYPES = ("float32", "bfloat16")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def gradients(flash_attention: bool = False, **changes) -> torch.Tensor:
    """All clipped gradients of the first step, concatenated."""
    settings = TrainingSettings(**{
        "batch_size": 8, "total_tokens": 10_400, "lr_max": 1e-3, "lr_min": 1e-4, "warmup_iters": 1, "weight_decay": 0.1,
        "max_grad_norm": 1.0, "dtype": "float32", "compile": "off", **changes,
    })  # fmt: skip
    trainer = Trainer(
        {**MODEL, "flash_attention": flash_attention}, settings, TOKENS, TOKENS, None, torch.device("cpu")
    )
    seen = []
    trainer.optimizer.step = lambda: seen.extend(p.grad.flatten() for p in trainer.model.parameters())
    trainer.train_step()
    return torch.cat(seen)


@pytest.fixture(scope="module")
def expected():
    return gradients()


@pytest.mark.parametrize(
    ("flash_attention", "gradient_checkpointing", "grad_accum_steps", "dtype"),
    list(itertools.product([False, True], [False, True], [1, 2, 8], ["float32", "bfloat16"])),
)
def test_equal_gradients(expected, flash_attention, gradient_checkpointing, grad_accum_steps, dtype):
    found = gradients(
        flash_attention, gradient_checkpointing=gradient_checkpointing, grad_accum_steps=grad_accum_steps, dtype=dtype
    )
    tolerance = {"float32": 1e-5, "bfloat16": 2e-2}[dtype]
    assert (found - expected).norm() < tolerance * expected.norm()


@pytest.fixture
def only_traced(monkeypatch):
    """torch.compile without its code generator, which takes half a minute the first time."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    _compiled.cache_clear()
    yield
    _compiled.cache_clear()
    torch._dynamo.reset()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("flash_attention", [False, True])
def test_equal_gradients_traced_for_the_compiler(expected, only_traced, flash_attention, dtype):
    found = gradients(flash_attention, compile="on", grad_accum_steps=2, dtype=dtype)
    assert (found - expected).norm() < {"float32": 1e-5, "bfloat16": 2e-2}[dtype] * expected.norm()


@pytest.mark.parametrize("with_gradients", [False, True])
def test_compiled_loss_of_unequal_chunks(only_traced, with_gradients):
    hidden, weight = torch.randn(10, 8), torch.randn(61, 8)
    targets = torch.randint(0, 61, (10,))
    found, expected = [], []
    for results, loss_of in [
        (found, lambda h, w: linear_cross_entropy(h, w, targets, max_logits=200, compiled=True)),  # 3 + 3 + 3 + 1
        (expected, lambda h, w: cross_entropy_loss(h @ w.T, targets)),
    ]:
        inputs = [x.clone().requires_grad_(with_gradients) for x in (hidden, weight)]
        results.append(loss_of(*inputs))
        if with_gradients:
            results.extend(torch.autograd.grad(results[0], inputs))
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("flash_attention", [False, True])
def test_equal_gradients_compiled(expected, flash_attention, dtype, gradient_checkpointing):
    changes = {"dtype": dtype, "gradient_checkpointing": gradient_checkpointing}
    found = gradients(flash_attention, compile="on", grad_accum_steps=2, **changes)
    assert (found - expected).norm() < {"float32": 1e-5, "bfloat16": 2e-2}[dtype] * expected.norm()


@pytest.mark.parametrize(
    ("dtype", "threads"),
    [("float32", 2), *(pytest.param(*how, marks=pytest.mark.slow) for how in itertools.product(DTYPES, (2, 8)))],
)
def test_the_same_model_with_any_number_of_threads(tmp_path, dtype, threads):
    """So trainings can share the cores, and a run can continue with another number of threads."""
    model = {"vocab_size": 512, "context_length": 96, "d_model": 128, "num_layers": 1, "num_heads": 4, "d_ff": 344}
    settings = TrainingSettings(
        batch_size=8, total_tokens=3 * 768, lr_max=1e-2, lr_min=1e-3, warmup_iters=2, weight_decay=0.1,
        max_grad_norm=1.0, dtype=dtype, compile="off",
    )  # fmt: skip
    train_tokens, valid_tokens = tmp_path / "train.npy", tmp_path / "valid.npy"
    tokens = np.random.default_rng(0).integers(0, 512, 3_000).astype(np.uint16)
    np.save(train_tokens, tokens)
    np.save(valid_tokens, tokens[:1000])
    made = []
    for count in (1, threads):
        torch.set_num_threads(count)
        train(model, settings, [train_tokens], [valid_tokens], tmp_path / "model.pt")
        made.append((tmp_path / "model.pt").read_bytes())
    assert made[0] == made[1]
