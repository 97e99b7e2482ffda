"""Batches and windows by brute force; what a bad token file says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minlm.errors import MinlmError
from minlm.training.tokens import TokenShards, open_tokens
from minlm.transformer import get_batch
from minlm.transformer.data import batch_at, evaluation_batches, shuffled, windows


def test_windows_come_from_the_data_and_targets_follow_inputs():
    data = np.arange(100, 200, dtype=np.uint16)
    inputs, targets = get_batch(data, 32, 7)
    assert inputs.shape == targets.shape == (32, 7)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(targets, inputs + 1)
    assert torch.equal(inputs - inputs[:, :1], torch.arange(7).expand(32, 7))


def test_every_start_is_equally_likely_the_last_included():
    data = np.arange(12, dtype=np.uint16)
    inputs, targets = get_batch(data, 9000, 3, generator=np.random.default_rng(0))
    counts = torch.bincount(inputs[:, 0])
    assert len(counts) == 9  # starts 0 … 8; the last window ends with the last token
    assert targets.max() == 11
    assert ((counts - 1000).square() / 1000).sum() < 26.1  # chi-square, 8 degrees of freedom, p = 0.001


def test_the_shortest_data_has_one_window():
    inputs, targets = get_batch(np.array([5, 6, 7]), 4, 2)
    assert inputs.tolist() == [[5, 6]] * 4
    assert targets.tolist() == [[6, 7]] * 4
    with pytest.raises(MinlmError, match="2 tokens are too few for a context of 2"):
        get_batch(np.array([5, 6]), 4, 2)


def test_batches_are_a_function_of_seed_and_step():
    data = np.arange(10_000, dtype=np.uint16)

    def batch(seed, step):
        return batch_at(data, 4, 8, "cpu", seed, step)[0].tolist()

    assert batch(0, 5) == batch(0, 5)
    assert len({str(batch(seed, step)) for seed in range(5) for step in range(20)}) == 100


@given(st.integers(2, 60), st.integers(1, 12), st.integers(1, 5))
def test_evaluation_predicts_every_token_but_the_first_once(length, context_length, batch_size):
    data = np.arange(length, dtype=np.uint16)
    batches = list(evaluation_batches(data, batch_size, context_length))
    targets = torch.cat([targets.flatten() for _, targets in batches])
    assert targets.tolist() == list(range(1, length))
    for inputs, targets in batches:
        assert torch.equal(targets, inputs + 1)
        assert inputs.shape[0] <= batch_size
        assert inputs.shape[1] <= context_length


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.data())
def test_shards_are_one_sequence(sizes, draw):
    whole = np.arange(sum(sizes), dtype=np.uint16)
    shards = TokenShards(np.split(whole, np.cumsum(sizes)[:-1]))
    start, stop = draw.draw(st.integers(0, len(whole))), draw.draw(st.integers(0, len(whole) + 3))
    assert len(shards) == len(whole)
    assert shards[start:stop].tolist() == whole[start:stop].tolist()
    assert shards[start:].tolist() == whole[start:].tolist()


def save(path, array):
    np.save(path, array)
    return path


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int32", "int64"])
def test_open_tokens_reads_each_type(tmp_path, dtype):
    path = save(tmp_path / "a.npy", np.arange(50, dtype=dtype))
    tokens = open_tokens(path, vocab_size=50, context_length=49)
    assert tokens[7:9].dtype == dtype
    inputs, _ = get_batch(tokens, 2, 49)
    assert inputs.tolist() == [list(range(49))] * 2


def test_open_tokens_joins_shards(tmp_path):
    paths = [save(tmp_path / f"{i}.npy", np.arange(10 * i, 10 * i + 10, dtype=np.uint16)) for i in range(3)]
    tokens = open_tokens(paths, vocab_size=30, context_length=20)
    assert tokens[5:25].tolist() == list(range(5, 25))


def test_open_tokens_says_what_is_wrong(tmp_path):
    good = np.arange(50, dtype=np.uint16)
    cut = save(tmp_path / "cut.npy", good)
    cut.write_bytes(cut.read_bytes()[:-10])
    foreign = tmp_path / "foreign.npy"
    foreign.write_text("just some text that is no array at all")
    (tmp_path / "empty.npy").touch()
    np.savez(tmp_path / "archive.npz", good)
    cases = {
        tmp_path / "missing.npy": "no such file",
        cut: "not a complete .npy file",
        foreign: "not a complete .npy file",
        tmp_path / "empty.npy": "not a complete .npy file",
        tmp_path / "archive.npz": "not a complete .npy file",
        save(tmp_path / "none.npy", good[:0]): "it has no tokens",
        save(tmp_path / "floats.npy", good.astype(np.float32)): "uint16, uint32, int32, int64, not float32",
        save(tmp_path / "bytes.npy", good.astype(np.uint8)): "not uint8",
        save(tmp_path / "square.npy", good.reshape(5, 10)): r"not uint16 of shape \(5, 10\)",
        save(tmp_path / "objects.npy", np.array([{}, {}])): "not a complete .npy file",
        save(tmp_path / "short.npy", good[:16]): "16 tokens are too few for a context of 16",
        save(tmp_path / "high.npy", np.append(good, [60, 61])): "token id 60 at position 50 does not fit vocab_size 60",
        save(tmp_path / "negative.npy", np.append(good, -1).astype(np.int32)): "token id -1 at position 50",
    }
    for path, message in cases.items():
        with pytest.raises(MinlmError, match=message) as error:
            open_tokens(path, vocab_size=60, context_length=16)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_parts_of_a_batch_are_its_rows():
    data = np.arange(1000, dtype=np.uint16)
    inputs, targets = batch_at(data, 12, 5, "cpu", 3, 7)
    for parts in (1, 2, 3, 12):
        pieces = [batch_at(data, 12, 5, "cpu", 3, 7, part, parts) for part in range(parts)]
        assert torch.equal(torch.cat([piece for piece, _ in pieces]), inputs)
        assert torch.equal(torch.cat([piece for _, piece in pieces]), targets)


@given(st.integers(2, 400), st.integers(1, 12), st.integers(1, 7), st.integers(0, 2**40))
def test_a_pass_reads_every_token_once_and_repeats_few(length, context_length, batch_size, seed):
    if length <= context_length:
        return
    data = np.arange(length, dtype=np.uint16)
    per_pass = -(-length // context_length)
    batches = [
        batch_at(data, batch_size, context_length, "cpu", seed, s) for s in range(-(-3 * per_pass // batch_size))
    ]
    targets = torch.cat([target for _, target in batches])[: 3 * per_pass].reshape(3, -1)
    for read in targets:
        counts = torch.bincount(read, minlength=length)
        assert counts.min() == 1
        assert counts.max() <= 2
        assert counts.sum() - length < context_length
    for inputs, target in batches:
        assert torch.equal(target, (inputs + 1) % length)


def test_each_pass_has_its_own_windows_and_order():
    data = np.arange(1000, dtype=np.uint16)
    passes = [[batch_at(data, 1, 10, "cpu", 0, 100 * p + i)[0][0, 0].item() for i in range(100)] for p in range(20)]
    assert len({tuple(starts) for starts in passes}) == 20
    assert len({starts[0] % 10 for starts in passes}) > 5
    for starts in passes:  # random: neither neighbours nor the place in the order tell where a window is
        assert abs(np.corrcoef(starts[:-1], starts[1:])[0, 1]) < 0.4
        assert abs(np.corrcoef(starts, range(100))[0, 1]) < 0.4


@given(st.integers(1, 3000), st.integers(0, 2**62))
def test_shuffled_is_a_permutation(count, seed):
    keys = np.random.default_rng(seed).integers(2**63, size=4, dtype=np.uint64)
    assert sorted(shuffled(np.arange(count), count, keys)) == list(range(count))


def test_shuffled_needs_no_memory_for_large_counts():
    keys = np.random.default_rng(0).integers(2**63, size=4, dtype=np.uint64)
    entries = shuffled(np.arange(1000), 10**15, keys)
    assert len(set(entries)) == 1000
    assert entries.max() < 10**15
    assert abs(entries.mean() / 5e14 - 1) < 0.06


def test_a_window_goes_on_at_the_beginning():
    shards = TokenShards([np.arange(5), np.arange(5, 8)])
    inputs, targets = windows(shards, np.array([2, 6]), 4, "cpu")
    assert inputs.tolist() == [[2, 3, 4, 5], [6, 7, 0, 1]]
    assert targets.tolist() == [[3, 4, 5, 6], [7, 0, 1, 2]]
