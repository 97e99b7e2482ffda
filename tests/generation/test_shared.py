"""Texts of several clients in one batch, when some of them fail or never begin."""

import pytest
import torch

from minlm.generation import batched
from minlm.generation.batched import Request
from minlm.generation.shared import SharedModel
from minlm.transformer import TransformerLM, generate


@pytest.fixture
def shared():
    torch.manual_seed(0)
    return SharedModel(TransformerLM(20, 16, 16, 1, 2, 24), stop_token=None, vocab_size=20)


def test_texts_that_never_begin_leave_nothing(shared):
    with shared.texts([Request([1, 2], 1.0, None, 0)], 0) as texts:
        assert list(texts) == []
    with shared.texts([Request([1, 2], 1.0, None, 0)], 5):
        pass  # the client has gone
    assert (shared._joining, shared._drawn, shared._batch.texts) == ([], {}, [])


def test_a_prompt_that_fails_does_not_change_another_text(shared, monkeypatch):
    prefill = batched._prefill

    def failing(model, windows):
        if [3, 3, 3] in windows:
            raise RuntimeError("out of memory")
        return prefill(model, windows)

    monkeypatch.setattr(batched, "_prefill", failing)
    with shared.texts([Request([1, 2], 1.0, None, 5)], 8) as texts:
        drawn = [next(iter(texts))[1].token]
        with shared.texts([Request([3, 3, 3], 1.0, None, 0)], 8) as bad, pytest.raises(RuntimeError):
            list(bad)
        drawn += [token.token for _, token in texts]
    assert drawn == generate(shared.model, [1, 2], 8, seed=5)[2:].tolist()
