"""A NaN or an infinity among the weights is an error that names the weight."""

import math

import pytest
import torch
from small_runs import MODEL, make_settings, run

from minlm.errors import MinlmError
from minlm.generation.batched import Request, stream
from minlm.training.trainer import Trainer
from minlm.transformer import TransformerLM, generate
from minlm.transformer.checkpoint import load_model, load_tensors, save_model
from minlm.transformer.checks import spoiled_weight

WEIGHTS = list(TransformerLM(**MODEL).state_dict())


def make_model(name: str, value: float) -> TransformerLM:
    torch.manual_seed(0)
    model = TransformerLM(**MODEL)
    with torch.no_grad():
        model.get_parameter(name).view(-1)[-1] = value
    return model


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", WEIGHTS)
def test_a_file_with_one_is_refused(tmp_path, name, value):
    model = make_model(name, value)
    assert spoiled_weight(model) == name
    save_model(tmp_path / "model.pt", model, iteration=1, tokenizer=None, training={})
    with pytest.raises(MinlmError, match=rf"model\.pt: the weight {name} holds NaN or infinite values"):
        load_model(tmp_path / "model.pt")


def test_the_largest_finite_weights_are_fine():
    assert spoiled_weight(make_model("lm_head.weight", torch.finfo(torch.float32).max)) is None


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("top_p", [None, 0.5])
@pytest.mark.parametrize("name", ["lm_head.weight", "layers.0.attn.q_proj.weight", "ln_final.weight"])
def test_sampling_names_the_weight(name, temperature, top_p):
    model = make_model(name, math.nan)
    with pytest.raises(MinlmError, match=f"the model's weight {name} holds NaN or infinite values"):
        generate(model, [1, 2], 5, temperature, top_p)
    with pytest.raises(MinlmError, match=f"weight {name}"):
        next(stream(model, Request([1, 2], temperature, top_p), 5))


def test_sampling_fails_when_the_bad_weight_is_read():
    """The embedding of token 15 is read only after it has been drawn."""
    model = make_model("token_embeddings.weight", math.inf)
    with torch.no_grad():
        model.lm_head.weight[15] = 1e4 * model.hidden_states(torch.tensor([[1, 2]]))[0, -1]
    tokens = stream(model, Request([1, 2], temperature=0.0), 5)
    assert next(tokens).token == 15
    with pytest.raises(MinlmError, match=r"weight token_embeddings\.weight"):
        next(tokens)


def test_finite_weights_whose_logits_overflow():
    model = make_model("lm_head.weight", 0)
    torch.nn.init.constant_(model.lm_head.weight, 3e38)
    with pytest.raises(MinlmError, match="the model's logits became NaN or infinite"):
        generate(model, [1, 2], 5)


def run_badly(folder, monkeypatch, spoil_at: int, name: str, **changes):
    """Training in which an update spoils a weight although its loss and its gradient were fine."""
    original = Trainer.train_step

    def train_step(self):
        original(self)
        if self.step == spoil_at:
            with torch.no_grad():
                self.model.get_parameter(name)[-1] = math.inf

    monkeypatch.setattr(Trainer, "train_step", train_step)
    run(folder, settings=make_settings(**changes))


# No text has id 15, so its embedding does not affect the loss.
@pytest.mark.parametrize(
    ("name", "what"), [("lm_head.weight", "validation loss"), ("token_embeddings.weight", "weight")]
)
def test_if_the_last_update_spoils_the_model_none_is_written(folder, monkeypatch, name, what):
    with pytest.raises(MinlmError, match=rf"the {what}.* became .* at step 40\. The last good state is .*lower lr_max"):
        run_badly(folder, monkeypatch, 40, name)
    assert not (folder / "model.pt").exists()
    assert load_tensors(folder / ".model.pt.in_progress/checkpoint.pt")["iteration"] == 30


def test_a_spoiled_state_is_not_saved_as_a_good_one(folder, monkeypatch):
    with pytest.raises(MinlmError, match=r"the weight lm_head\.weight became NaN or infinite at step 20"):
        run_badly(folder, monkeypatch, 20, "lm_head.weight")
    assert load_tensors(folder / ".model.pt.in_progress/checkpoint.pt")["iteration"] == 10
