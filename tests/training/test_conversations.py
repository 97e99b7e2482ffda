"""Conversations: how they are packed, and that the loss is the mean over the assistant's tokens alone."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from small_runs import MODEL, TOKENIZER, make_settings, result, run, stop_after

from minlm.errors import MinlmError
from minlm.fast.transformer.loss import linear_cross_entropy
from minlm.training.conversations import NO_TARGET, Conversations, open_conversations
from minlm.training.evaluation import validation_loss
from minlm.training.processes import Processes
from minlm.training.signals import Interrupted
from minlm.training.trainer import Trainer
from minlm.transformer import TransformerLM, cross_entropy_loss

END = 13
# A conversation is a list of turns: how many tokens the user writes, and how many the assistant.
chats = st.lists(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 5)), min_size=1, max_size=4), min_size=1, max_size=9
)


def arrays(conversations) -> tuple[np.ndarray, np.ndarray]:
    """Ids, all different but for END, and the mask."""
    mask = []
    for conversation in conversations:
        for asked, answered in conversation:
            mask += [0] * asked + [1] * answered
        mask.append(2)
    mask = np.array(mask, dtype=np.uint8)
    return np.where(mask == 2, END, 100 + np.arange(len(mask))), np.where(mask == 2, 0, mask).astype(np.uint8)


def example(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ids below 13 and a mask that `MODEL` can train on."""
    rng = np.random.default_rng(seed)
    tokens, mask = arrays([[(int(rng.integers(1, 4)), int(rng.integers(1, 4)))] for _ in range(count)])
    return np.where(tokens == END, END, tokens * 5 % 13).astype(np.uint16), mask


@given(chats, st.integers(2, 30))
def test_packing(conversations, context_length):
    tokens, mask = arrays(conversations)
    try:
        packed = Conversations(tokens, mask, context_length, END)
    except MinlmError:
        assert context_length < 6
        return
    ends = [0, *(np.flatnonzero(tokens == END) + 1).tolist()]
    lengths = [stop - start for start, stop in itertools.pairwise(ends)]
    assert packed.cut == sum(length > context_length + 1 for length in lengths)
    for start, stop in packed.bounds.tolist():
        assert 0 < stop - start <= context_length + 1
        inside = [end for end in ends if start < end < stop]
        if start in ends:
            following = (
                next(length for end, length in zip(ends, [*lengths, 10**9], strict=True) if end >= stop)
                if stop in ends
                else 0
            )
            assert stop not in ends or stop - start + following > context_length + 1 or stop == len(tokens)
            assert stop in ends or not inside  # only a conversation that is longer than a row is cut
        if stop not in ends and mask[stop - 1] == 0:  # cut inside a turn: none of the assistant's ends in the row
            assert not ((mask[start : stop - 1] == 1) & (mask[start + 1 : stop] == 0)).any()
    learned = packed[1 : len(packed)].tolist()
    rows_of_all = {int(token) for token in tokens[mask == 1]}
    assert len(set(learned)) == len(learned) == len(packed) - 1
    assert set(learned) <= rows_of_all
    if all(turn[0] + turn[1] <= context_length for conversation in conversations for turn in conversation):
        assert set(learned) == rows_of_all


def test_a_pass_reads_each_row_once():
    tokens, mask = example(200)
    packed = Conversations(tokens, mask, 8, END)
    rows, batch_size = len(packed.bounds), 10
    seen = []
    for step in range(-(-rows // batch_size)):
        inputs, targets, scale = packed.batch_at(batch_size, "cpu", 3, step, 0, 1)
        assert inputs.shape == targets.shape == (batch_size, 8)
        assert scale == pytest.approx(targets.numel() / (targets != NO_TARGET).sum().item())
        seen += [tuple(row) for row in inputs.tolist()]
        halves = [packed.batch_at(batch_size, "cpu", 3, step, part, 2) for part in (0, 1)]
        assert torch.equal(torch.cat([half[1] for half in halves]), targets)
        assert halves[0][2] == halves[1][2] == scale
    every = [tuple(row) for inputs, _ in packed.evaluation_batches(7, "cpu") for row in inputs.tolist()]
    assert sorted(seen[:rows]) == sorted(every)


@pytest.mark.parametrize("max_logits", [None, 40])
def test_masked_loss_and_gradients_are_torchs(max_logits):
    torch.manual_seed(0)
    hidden, weight = torch.randn(4, 6, 8, requires_grad=True), torch.randn(11, 8, requires_grad=True)
    targets = torch.randint(0, 11, (4, 6))
    targets[torch.rand(4, 6) < 0.6] = NO_TARGET
    kept = targets != NO_TARGET
    expected = F.cross_entropy((hidden @ weight.T).flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET)
    expected_gradients = torch.autograd.grad(expected, (hidden, weight))
    for loss in (
        cross_entropy_loss(hidden @ weight.T, targets),
        linear_cross_entropy(hidden, weight, targets, max_logits),
    ):
        loss = loss * kept.numel() / kept.sum()
        torch.testing.assert_close(loss, expected)
        gradients = torch.autograd.grad(loss, (hidden, weight))
        torch.testing.assert_close(gradients, expected_gradients)
        assert (gradients[0][~kept] == 0).all()


class Alone(Processes):
    """One of several processes, without the others."""

    def share_gradients(self, module, device):
        return module

    def any(self, flag):
        return flag


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize(("processes", "accumulated"), [(1, 1), (1, 4), (2, 1), (2, 2)])
def test_gradients_are_of_the_mean_over_all_targets_of_a_batch(reference, processes, accumulated):
    """However the batch is divided; compared with torch's cross-entropy over the whole batch."""
    tokens, mask = example(60)
    packed = Conversations(tokens, mask, MODEL["context_length"], END)
    settings = make_settings(batch_size=8, grad_accum_steps=accumulated, max_grad_norm=1e9, reference=reference)
    sums: list[torch.Tensor] = []
    for rank in range(processes):
        trainer = Trainer(MODEL, settings, packed, packed, None, torch.device("cpu"), processes=Alone(rank, processes))
        seen: list[torch.Tensor] = []
        trainer.optimizer.step = lambda seen=seen: seen.extend(p.grad for p in trainer.model.parameters())  # noqa: B023
        trainer.train_step()
        sums = [a + b for a, b in zip(sums, seen, strict=True)] if sums else [g.clone() for g in seen]
    inputs, targets, _ = packed.batch_at(8, "cpu", settings.seed, 0, 0, 1)
    logits = trainer.model(inputs)
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET)
    for found, expected in zip(sums, torch.autograd.grad(loss, list(trainer.model.parameters())), strict=True):
        torch.testing.assert_close(found / processes, expected, rtol=1e-4, atol=1e-6)


def test_validation_is_the_mean_over_all_targets():
    tokens, mask = example(50)
    packed, model = Conversations(tokens, mask, 8, END), TransformerLM(**MODEL)
    batches = list(packed.evaluation_batches(7, "cpu"))
    logits = torch.cat([model(inputs) for inputs, _ in batches]).flatten(0, 1)
    expected = F.cross_entropy(logits, torch.cat([t for _, t in batches]).flatten(), ignore_index=NO_TARGET)
    assert validation_loss(model, packed, 8, 7) == pytest.approx(expected.item(), rel=1e-5)


@pytest.fixture
def chats_folder(tmp_path):
    for name, count in (("train", 80), ("valid", 9)):
        tokens, mask = example(count)
        np.save(tmp_path / f"{name}.npy", tokens)
        np.save(tmp_path / f"{name}.mask.npy", mask)
    return tmp_path


class Tokenizer:
    vocab, special_tokens, fingerprint = TOKENIZER.vocab, TOKENIZER.special_tokens, TOKENIZER.fingerprint

    def encode(self, text):
        return [END]


def test_a_run_learns_and_resumes_exactly(chats_folder, monkeypatch):
    masks = {"masks": [chats_folder / "train.mask.npy", chats_folder / "valid.mask.npy"], "tokenizer": Tokenizer()}
    rows = run(chats_folder, "whole.pt", **masks)
    assert rows[-1]["val_loss"] < rows[0]["train_loss"]
    assert rows[-1]["val_bits_per_byte"] > 0
    stop_after(monkeypatch, 17)
    with pytest.raises(Interrupted):
        run(chats_folder, "halves.pt", **masks)
    run(chats_folder, "halves.pt", **masks)
    assert result(chats_folder, "halves.pt") == result(chats_folder, "whole.pt")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros(5, dtype=np.uint8), r"uint8 of shape \(10,\), not uint8 of shape \(5,\)"),
        (np.zeros(10, dtype=np.int64), "not int64"),
        (np.full(10, 2, dtype=np.uint8), "values other than 0 and 1"),
        (np.zeros(10, dtype=np.uint8), "no token is a target"),
    ],
)
def test_bad_masks(tmp_path, mask, message):
    np.save(tmp_path / "mask.npy", mask)
    with pytest.raises(MinlmError, match=message):
        open_conversations(np.full(10, END, dtype=np.uint16), tmp_path / "mask.npy", 4, END)
