"""The whole model against transformers' Llama, and what its switches do."""

import pytest
import torch
from ablations import ABLATIONS
from transformers import LlamaConfig, LlamaForCausalLM

from minlm import transformer as plain
from minlm.errors import MinlmError
from minlm.fast import transformer as fast
from minlm.transformer import AdamW, TransformerLM, cross_entropy_loss
from minlm.transformer.attention import KeyValueCache
from minlm.transformer.modules import RMSNorm

SHAPE = {"vocab_size": 61, "context_length": 24, "d_model": 32, "num_layers": 3, "num_heads": 4, "d_ff": 40}
FORMS = [plain, fast]


def make_model(form=plain, **switches) -> TransformerLM:
    torch.manual_seed(1)
    return form.TransformerLM(**SHAPE, **switches)


def make_ids(batch: int = 3) -> torch.Tensor:
    return torch.randint(0, 61, (batch, 24), generator=torch.Generator().manual_seed(2))


def halves(weight: torch.Tensor, config: dict) -> torch.Tensor:
    """The rows of a projection of queries or keys in Llama's order."""
    d_k = config["d_model"] // config["num_heads"]
    return weight.view(config["num_heads"], d_k // 2, 2, -1).transpose(1, 2).reshape(weight.shape)


def as_llama(model: TransformerLM) -> LlamaForCausalLM:
    """The same weights in transformers' Llama, whose RoPE pairs coordinate i with i + d_k/2 instead of 2i with 2i+1."""
    config = model.config
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config["vocab_size"], hidden_size=config["d_model"], intermediate_size=config["d_ff"],
            num_hidden_layers=config["num_layers"], num_attention_heads=config["num_heads"],
            max_position_embeddings=config["context_length"], rms_norm_eps=1e-5, tie_word_embeddings=False,
            rope_theta=config["rope_theta"],  # transformers 4; version 5 reads the next line
            rope_parameters={"rope_type": "default", "rope_theta": config["rope_theta"]},
        )
    ).eval()  # fmt: skip

    ours = model.state_dict()
    theirs = {
        "model.embed_tokens.weight": ours["token_embeddings.weight"],
        "model.norm.weight": ours["ln_final.weight"],
        "lm_head.weight": ours["lm_head.weight"],
    }
    for i in range(config["num_layers"]):
        for their_name, our_name in {
            "input_layernorm": "ln1", "post_attention_layernorm": "ln2",
            "self_attn.q_proj": "attn.q_proj", "self_attn.k_proj": "attn.k_proj",
            "self_attn.v_proj": "attn.v_proj", "self_attn.o_proj": "attn.output_proj",
            "mlp.gate_proj": "ffn.w1", "mlp.down_proj": "ffn.w2", "mlp.up_proj": "ffn.w3",
        }.items():  # fmt: skip
            weight = ours[f"layers.{i}.{our_name}.weight"]
            theirs[f"model.layers.{i}.{their_name}.weight"] = (
                halves(weight, config) if "q_p" in our_name or "k_p" in our_name else weight
            )
    llama.load_state_dict(theirs)
    return llama


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("flash_attention", [False, True])
def test_logits_and_gradients_are_llamas(form, flash_attention):
    model, ids = make_model(form, flash_attention=flash_attention, rope_theta=500.0), make_ids()
    for module in model.modules():
        if isinstance(module, RMSNorm):
            torch.nn.init.normal_(module.weight, mean=1.0)
    llama = as_llama(model)
    torch.testing.assert_close(model(ids), llama(ids).logits, atol=1e-5, rtol=1e-5)

    cross_entropy_loss(model(ids)[:, :-1], ids[:, 1:]).backward()
    llama(ids, labels=ids).loss.backward()
    gradients = {name: parameter.grad for name, parameter in llama.named_parameters()}
    for ours, theirs in [
        (model.token_embeddings.weight, "model.embed_tokens.weight"),
        (model.layers[0].ffn.w3.weight, "model.layers.0.mlp.up_proj.weight"),
        (model.layers[2].attn.v_proj.weight, "model.layers.2.self_attn.v_proj.weight"),
    ]:
        torch.testing.assert_close(ours.grad, gradients[theirs], atol=1e-5, rtol=1e-4)
    for name in ("q_proj", "k_proj"):
        ours = halves(getattr(model.layers[1].attn, name).weight.grad, model.config)
        torch.testing.assert_close(ours, gradients[f"model.layers.1.self_attn.{name}.weight"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("switch", [None, *ABLATIONS, "flash_attention"])
def test_config_rebuilds_the_model(switch):
    model = make_model(**({switch: True} if switch else {}))
    again = TransformerLM(**model.config)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(make_ids()), model(make_ids()))


def test_state_dict_names_and_number_of_parameters():
    model = make_model()
    block = [
        "ln1",
        "attn.q_proj",
        "attn.k_proj",
        "attn.v_proj",
        "attn.output_proj",
        "ln2",
        "ffn.w1",
        "ffn.w2",
        "ffn.w3",
    ]
    layers = {f"layers.{i}.{part}.weight" for i in range(3) for part in block}
    assert set(model.state_dict()) == {"token_embeddings.weight", "ln_final.weight", "lm_head.weight"} | layers
    assert model.num_parameters() == 2 * 61 * 32 + 32 + 3 * (2 * 32 + 4 * 32 * 32 + 3 * 32 * 40)


@pytest.mark.parametrize("switch", ABLATIONS)
def test_each_ablation_changes_the_function_and_learns(switch):
    model, ids = make_model(**{switch: True}), make_ids()
    assert not torch.allclose(model(ids), make_model()(ids))
    has_norms = any(isinstance(module, RMSNorm) for module in model.modules())
    assert has_norms == (switch != "disable_rmsnorm")
    before = cross_entropy_loss(model(ids)[:, :-1], ids[:, 1:])
    before.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_without_rope_the_last_logits_do_not_see_the_order():
    torch.manual_seed(0)
    shape = {**SHAPE, "num_layers": 1}
    ids = make_ids(1)
    shuffled = torch.cat([ids[:, torch.randperm(23)], ids[:, 23:]], dim=1)
    blind, seeing = TransformerLM(**shape, no_rope=True), TransformerLM(**shape)
    torch.testing.assert_close(blind(ids)[:, -1], blind(shuffled)[:, -1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(seeing(ids)[:, -1], seeing(shuffled)[:, -1], atol=1e-3)


def test_post_norm_outputs_are_normalized():
    model = make_model(post_norm=True)
    states = model.hidden_states(make_ids())
    torch.testing.assert_close(states.square().mean(-1), torch.ones(3, 24), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("flash_attention", [False, True])
def test_autocast_bfloat16_stays_close_to_float32(form, flash_attention):
    model, ids = make_model(form, flash_attention=flash_attention), make_ids()
    exact = cross_entropy_loss(model(ids)[:, :-1], ids[:, 1:])
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(ids)
        loss = cross_entropy_loss(logits[:, :-1], ids[:, 1:])
    assert logits.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, atol=0.05, rtol=0)
    loss.backward()
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}


def test_one_batch_can_be_learned_by_heart():
    model, ids = make_model(), make_ids()
    optimizer = AdamW(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        loss = cross_entropy_loss(model(ids[:, :-1]), ids[:, 1:])
        loss.backward()
        optimizer.step()
    assert loss < 0.02


def test_cached_logits_are_the_uncached():
    model, ids = make_model(), make_ids()
    cache = KeyValueCache(len(model.layers))
    pieces = []
    for start, stop in [(0, 10), (10, 11), (11, 24)]:
        pieces.append(model(ids[:, start:stop], cache))
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(ids), atol=1e-5, rtol=1e-5)
    with pytest.raises(MinlmError, match="25 tokens is longer"):
        model(ids[:, :1], cache)


def test_too_long_a_sequence_is_refused():
    with pytest.raises(MinlmError, match="25 tokens is longer than the model's context of 24"):
        make_model()(torch.zeros(1, 25, dtype=torch.int64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": 5}, "d_model \\(32\\) must be divisible by num_heads \\(5\\)"),
        ({"num_heads": 32}, "even head dimension, not 1"),
        ({"num_layers": 0}, "num_layers must be at least 1, not 0"),
        ({"vocab_size": -3}, "vocab_size must be at least 1, not -3"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(MinlmError, match=message):
        TransformerLM(**{**SHAPE, **change})


def test_an_odd_head_dimension_is_fine_without_rope():
    assert TransformerLM(**{**SHAPE, "num_heads": 32}, no_rope=True)(make_ids()).shape == (3, 24, 61)
