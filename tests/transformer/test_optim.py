"""AdamW and clipping against torch's, the schedule against its formula and transformers'."""

import io
import math

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from minlm import transformer as plain
from minlm.fast import transformer as fast
from minlm.transformer import AdamW, get_lr_cosine_schedule, get_lr_linear_schedule

FORMS = [plain, fast]
SETTINGS = {"lr": 3e-2, "betas": (0.9, 0.98), "eps": 1e-8, "weight_decay": 0.1}


def make_parameters() -> list[torch.nn.Parameter]:
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in [(3, 4), (5,), (2, 2, 2)]]


def set_gradients(parameters, step: int) -> None:
    """Noisy gradients; the last parameter has none in every third step."""
    generator = torch.Generator().manual_seed(step)
    for parameter in parameters:
        parameter.grad = parameter.detach() + torch.randn(parameter.shape, generator=generator)
    if step % 3 == 0:
        parameters[-1].grad = None


@pytest.mark.parametrize("settings", [SETTINGS, {}, {**SETTINGS, "weight_decay": 0.0, "betas": (0.5, 0.5)}])
@pytest.mark.parametrize("form", FORMS)
def test_adamw_is_torchs_over_300_steps(form, settings):
    ours, theirs = make_parameters(), make_parameters()
    optimizers = form.AdamW(ours, **settings), torch.optim.AdamW(theirs, **settings)
    for step in range(300):
        for parameters, optimizer in zip((ours, theirs), optimizers, strict=True):
            set_gradients(parameters, step)
            optimizer.param_groups[0]["lr"] = 3e-2 / (1 + step / 100)
            optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_adamw_first_step_by_hand():
    parameter = torch.nn.Parameter(torch.tensor([2.0]))
    parameter.grad = torch.tensor([0.5])
    AdamW([parameter], lr=0.1, weight_decay=0.01).step()
    # Bias-corrected means of the first step are the gradient and its square.
    assert parameter.item() == pytest.approx(2.0 * (1 - 0.1 * 0.01) - 0.1 * 0.5 / (0.5 + 1e-8))


def test_adamw_groups_and_closure():
    parameters = make_parameters()
    optimizer = AdamW([{"params": parameters[:1], "lr": 0.0}, {"params": parameters[1:]}], lr=0.1)
    before = [parameter.detach().clone() for parameter in parameters]

    def closure():
        optimizer.zero_grad()
        loss = sum(parameter.square().sum() for parameter in parameters)
        loss.backward()
        return loss

    assert optimizer.step(closure) > 0
    assert torch.equal(parameters[0], before[0])
    assert not torch.equal(parameters[1], before[1])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("other", FORMS)
def test_adamw_state_survives_saving(form, other):
    def run(steps, save_at=None):
        parameters = make_parameters()
        optimizer = form.AdamW(parameters, **SETTINGS)
        for step in range(steps):
            if step == save_at:
                file = io.BytesIO()
                torch.save(optimizer.state_dict(), file)
                file.seek(0)
                optimizer = other.AdamW(parameters, lr=123.0)
                optimizer.load_state_dict(torch.load(file, weights_only=True))
            set_gradients(parameters, step)
            optimizer.step()
        return parameters

    exact = {"atol": 0, "rtol": 0} if form is other else {}
    for a, b in zip(run(20), run(20, save_at=11), strict=True):
        torch.testing.assert_close(a, b, **exact)


@pytest.mark.parametrize(
    "wrong", [{"lr": -1}, {"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}, {"eps": -1e-8}, {"weight_decay": -1}]
)
def test_adamw_refuses_settings_out_of_range(wrong):
    with pytest.raises(ValueError, match="out of range"):
        AdamW(make_parameters(), **wrong)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("max_norm", [0.1, 1.0, 100.0])
def test_clipping_is_torchs(form, max_norm):
    ours, theirs = make_parameters(), make_parameters()
    for parameters in (ours, theirs):
        set_gradients(parameters, 0)
    norm = form.gradient_clipping(ours, max_norm)
    torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_(theirs, max_norm))
    for a, b in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    assert ours[2].grad is None
    left = math.sqrt(sum(float(parameter.grad.square().sum()) for parameter in ours[:2]))
    assert left <= max_norm * (1 + 1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_clipping_takes_a_generator_and_nothing(form):
    assert form.gradient_clipping((parameter for parameter in make_parameters()), 1.0) == 0


def test_schedule_at_its_corners():
    def rate(it):
        return get_lr_cosine_schedule(it, 1.0, 0.1, warmup_iters=10, cosine_cycle_iters=30)

    assert [rate(0), rate(5), rate(10), rate(30), rate(1000)] == [0.0, 0.5, 1.0, 0.1, 0.1]
    assert rate(20) == pytest.approx(0.55)  # half-way down
    assert rate(15) == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi / 4)))
    assert get_lr_cosine_schedule(0, 1.0, 0.1, 0, 30) == 1.0  # no warm-up


def test_schedule_is_transformers():
    optimizer = torch.optim.SGD(make_parameters(), lr=0.3)
    theirs = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=7, num_training_steps=50)
    for it in range(50):
        assert get_lr_cosine_schedule(it, 0.3, 0.0, 7, 50) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_linear_schedule_is_transformers():
    """After the warm-up, which here begins one step later, so that the first step is not lost."""
    optimizer = torch.optim.SGD(make_parameters(), lr=0.3)
    theirs = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=7, num_training_steps=50)
    rates = [get_lr_linear_schedule(it, 0.3, 0.0, 7, 50) for it in range(60)]
    for it in range(50):
        assert rates[it if it >= 7 else it - 1] == pytest.approx(theirs.get_last_lr()[0]) or it == 0
        optimizer.step()
        theirs.step()
    assert rates[0] > 0
    assert rates[50:] == [0.0] * 10
    assert get_lr_linear_schedule(30, 0.3, 0.1, 10, 50) == pytest.approx(0.2)
