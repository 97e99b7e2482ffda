"""The fast form of the model, the optimizer and the clipping against the plain form: values and gradients."""

import pytest
import torch
from ablations import ABLATIONS

from minlm import transformer as plain
from minlm.errors import MinlmError
from minlm.fast import transformer as fast
from minlm.fast.transformer.compiling import LanguageModelLoss
from minlm.transformer import cross_entropy_loss

SHAPE = {"vocab_size": 61, "context_length": 24, "d_model": 32, "num_layers": 3, "num_heads": 4, "d_ff": 40}


def make_model(form=fast, **switches):
    torch.manual_seed(1)
    return form.TransformerLM(**SHAPE, **switches)


def make_ids(batch: int = 3) -> torch.Tensor:
    return torch.randint(0, 61, (batch, 24), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("switch", [None, *ABLATIONS, "flash_attention"])
def test_both_forms_agree(switch):
    ids, results = make_ids(), []
    for form in (plain, fast):
        model = make_model(form, **({switch: True} if switch else {}))
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()
        norm = form.gradient_clipping(model.parameters(), 0.5)
        gradients = [parameter.grad.clone() for parameter in model.parameters()]
        form.AdamW(model.parameters(), lr=1e-2, eps=1e-3, weight_decay=0.1).step()
        results.append([loss, norm, *gradients, *model.parameters()])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=3e-5, rtol=1e-4)


def test_both_forms_start_from_the_same_weights():
    for ours, theirs in zip(make_model(plain).parameters(), make_model(fast).parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_training_loss_refuses_sequences_that_are_too_long():
    model = make_model(no_rope=True, flash_attention=True)
    ids = torch.zeros(1, model.config["context_length"] + 1, dtype=torch.int64)
    with pytest.raises(MinlmError, match="longer than the model's context"):
        LanguageModelLoss(model, compiled=False)(ids, ids)


@pytest.mark.parametrize("switch", [None, *ABLATIONS, "flash_attention"])
def test_gradient_checkpointing_gives_equal_gradients(switch):
    ids, gradients = make_ids(), []
    for checkpointing in (False, True):
        model = make_model(**({switch: True} if switch else {}))
        model.gradient_checkpointing = checkpointing
        cross_entropy_loss(model(ids)[:, :-1], ids[:, 1:]).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for kept, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, recomputed, rtol=0, atol=0)


def test_gradient_checkpointing_keeps_fewer_activations():
    kept = []
    for checkpointing in (False, True):
        model, sizes = make_model(), []
        model.gradient_checkpointing = checkpointing
        with torch.autograd.graph.saved_tensors_hooks(lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t):
            model(make_ids())
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 3
