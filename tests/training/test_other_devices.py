"""Training, validation, resuming and sampling on a device that lacks what MPS lacks, without waiting for it."""

import numpy as np
import pytest
from small_runs import MODEL, make_settings
from stand_in import DEVICE, StandIn, operators_of_mps

from minlm.generation.batched import Request, generate_batch, stream
from minlm.training.signals import StopSignals
from minlm.training.state import _copy
from minlm.training.trainer import Trainer
from minlm.transformer import TransformerLM

TOKENS = (np.arange(300) * 5 % 13).astype(np.uint16)


@pytest.fixture
def device():
    with StandIn() as mode:
        yield mode
    without_kernel = {f"{op.name().removeprefix('aten::')}" for op in mode.operators if op.namespace == "aten"}
    assert without_kernel - operators_of_mps() == set()


def make_trainer(**changes) -> Trainer:
    settings = make_settings(compile="off", grad_accum_steps=2, **changes)
    return Trainer(MODEL | {"num_layers": 2}, settings, TOKENS, TOKENS, None, DEVICE)


@pytest.mark.filterwarnings("ignore:.*a meta parameter")  # it holds no values to restore
@pytest.mark.parametrize("flash_attention", [False, True])
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_training_validation_and_a_restored_state(device, flash_attention, gradient_checkpointing):
    saved = None
    for _ in range(2):
        trainer = make_trainer(gradient_checkpointing=gradient_checkpointing)
        if saved is not None:
            trainer.restore(saved)
        with device.no_waiting():
            for _ in range(3):
                trainer.train_step()
        trainer.started = trainer.row_started = 0.0
        trainer.add_row(StopSignals())
        saved = _copy(
            {
                "model_state_dict": trainer.model.state_dict(),
                "optimizer_state_dict": trainer.optimizer.state_dict(),
                "iteration": trainer.step, "rows": trainer.rows, "loss_sum": 0.0, "grad_norm": 0.0,
                "elapsed_s": 0.0, "since_row_s": 0.0,
            }
        )  # fmt: skip
    assert trainer.step == 6
    assert {t.device for state in trainer.optimizer.state.values() for t in state.values()} == {DEVICE}


REQUESTS = [
    Request([1, 2, 3], temperature=0.0),
    Request([4], temperature=0.8, top_p=0.9, seed=0),
    Request([4, 5], top_k=5, seed=1),
    Request([6] * 20, seed=2),
]


@pytest.mark.parametrize("requests", [REQUESTS[:1], REQUESTS[3:], REQUESTS])
@pytest.mark.parametrize("flash_attention", [False, True])
def test_sampling_waits_once_for_each_token(device, requests, flash_attention):
    """Rows end, the context fills up, prompts differ: only reading the drawn tokens waits for the device."""
    model = TransformerLM(**MODEL, flash_attention=flash_attention).to(DEVICE)
    texts = generate_batch(model, requests, 30)
    assert [len(text) for text in texts] == [len(request.prompt_ids) + 30 for request in requests]
    assert device.waits == 30


def test_a_text_that_ends_and_one_that_is_described(device):
    model = TransformerLM(**MODEL).to(DEVICE)
    assert [len(text) for text in generate_batch(model, REQUESTS, 30, stop_token=0)] == [3, 1, 2, 20]  # all zeros
    assert device.waits == 1
    assert len(list(stream(model, Request([1, 2]), 5, num_alternatives=3))) == 5
