"""Checkpoints: what is saved comes back, what is not ours is refused with its own sentence."""

import io
import pickle

import numpy as np
import pytest
import torch

from minlm.errors import MinlmError
from minlm.transformer import AdamW, TransformerLM, load_checkpoint, save_checkpoint
from minlm.transformer.checkpoint import load_model, save_model

CONFIG = {"vocab_size": 11, "context_length": 8, "d_model": 16, "num_layers": 2, "num_heads": 2, "d_ff": 24}


def make_model(seed: int = 0, **changes: object) -> TransformerLM:
    torch.manual_seed(seed)
    return TransformerLM(**{**CONFIG, **changes})


def save(path, model=None):
    save_model(path, model or make_model(), iteration=7, tokenizer="abc", training={"lr_max": 1e-3})
    return path


@pytest.mark.parametrize("changes", [{}, {"no_rope": True, "silu_ffn": True, "flash_attention": True}])
def test_a_model_comes_back_without_being_told_its_shape(tmp_path, changes):
    model = make_model(**changes)
    loaded, info = load_model(save(tmp_path / "deep/model.pt", model))
    ids = torch.arange(8)[None]
    torch.testing.assert_close(loaded(ids), model(ids), rtol=0, atol=0)
    assert loaded.config == model.config
    assert info == {"iteration": 7, "tokenizer": "abc", "training": {"lr_max": 1e-3}}
    contents = torch.load(tmp_path / "deep/model.pt", weights_only=True)
    assert set(contents) == {"model_state_dict", "model_config", "iteration", "tokenizer", "training"}


def test_the_same_model_gives_the_same_bytes_under_any_name(tmp_path):
    assert save(tmp_path / "a.pt").read_bytes() == save(tmp_path / "other/name.pt").read_bytes()


def refused(path) -> str:
    with pytest.raises(MinlmError) as error:
        load_model(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_each_file_that_is_no_model_has_its_own_sentence(tmp_path):
    path = tmp_path / "model.pt"
    assert "there is no such checkpoint" in refused(path)
    path.write_bytes(b"")
    assert "not a checkpoint of torch" in refused(path)
    path.write_bytes(pickle.dumps(print))
    assert "plain pickles can run code and are never loaded" in refused(path)
    torch.save(torch.nn.Linear(2, 2), path)
    assert "holds pickled code, which is not run" in refused(path)
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    assert "not a checkpoint of torch, or is damaged" in refused(tmp_path / "arrays.npz")
    torch.save({"model_state_dict": {}, "model_config": {}}, path)
    assert "it lacks iteration, tokenizer, training" in refused(path)
    torch.save([1, 2], path)
    assert "is not a model of minlm" in refused(path)


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.9, 0.999])
def test_a_file_cut_short_is_damaged(tmp_path, kept):
    path = save(tmp_path / "model.pt")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert "is damaged" in refused(path)


def test_a_flipped_bit_in_the_weights_is_noticed(tmp_path):
    model = make_model()
    path = save(tmp_path / "model.pt", model)
    content = bytearray(path.read_bytes())
    position = content.index(model.lm_head.weight.detach().numpy().tobytes())
    content[position + 100] ^= 1  # torch itself would load it without a word
    path.write_bytes(content)
    assert "is damaged" in refused(path)


def test_weights_that_do_not_fit_the_config(tmp_path):
    model = make_model()
    for name, value in [("d_ff", 32), ("num_layers", 1), ("num_heads", 5), ("silu_ffn", True), ("unheard_of", 1)]:
        model.config = {**make_model().config, name: value}
        assert "weights fit the shape" in refused(save(tmp_path / "model.pt", model)), name


def train_a_little(model, optimizer, steps):
    for step in range(steps):
        model(torch.full((2, 8), step % 11)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("to_memory", [True, False])
def test_the_classic_pair_continues_exactly(tmp_path, to_memory):
    model = make_model()
    optimizer = AdamW(model.parameters(), lr=1e-2)
    train_a_little(model, optimizer, 3)
    place = io.BytesIO() if to_memory else tmp_path / "checkpoint.pt"
    save_checkpoint(model, optimizer, 3, place)
    train_a_little(model, optimizer, 3)

    again = make_model(seed=1)
    optimizer_again = AdamW(again.parameters(), lr=1)
    if to_memory:
        place.seek(0)
    assert load_checkpoint(place, again, optimizer_again) == 3
    train_a_little(again, optimizer_again, 3)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_the_classic_pair_refuses_another_shape_and_another_kind(tmp_path):
    model, other = make_model(), make_model(d_ff=32)
    save_checkpoint(model, AdamW(model.parameters()), 3, tmp_path / "a.pt")
    with pytest.raises(MinlmError, match=r"a\.pt is not a checkpoint of this model"):
        load_checkpoint(tmp_path / "a.pt", other, AdamW(other.parameters()))
    with pytest.raises(MinlmError, match="is not a checkpoint of this model"):
        load_checkpoint(save(tmp_path / "model.pt"), model, AdamW(model.parameters()))


def test_a_full_disk_leaves_the_old_model(tmp_path, monkeypatch):
    old = save(tmp_path / "model.pt").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MinlmError, match="No space left on device"):
        save(tmp_path / "model.pt", make_model(seed=1))
    assert (tmp_path / "model.pt").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
