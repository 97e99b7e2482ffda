"""The configuration and the weights of a model as transformers' `LlamaForCausalLM` has them."""

from typing import Any

from torch import Tensor

from minlm.errors import MinlmError
from minlm.fast.transformer.attention import evens_first
from minlm.transformer.model import TransformerLM
from minlm.transformer.modules import RMSNorm

# Settings that Llama also has, or that do not change what the model computes. Any other that is on is an ablation that
# Llama cannot express.
IN_LLAMA = {
    "vocab_size", "context_length", "d_model", "num_layers", "num_heads", "d_ff", "rope_theta", "flash_attention",
    "embedding_std",
}  # fmt: skip
NAMES = {
    "token_embeddings": "model.embed_tokens",
    "ln1": "input_layernorm",
    "attn.q_proj": "self_attn.q_proj",
    "attn.k_proj": "self_attn.k_proj",
    "attn.v_proj": "self_attn.v_proj",
    "attn.output_proj": "self_attn.o_proj",
    "ln2": "post_attention_layernorm",
    "ffn.w1": "mlp.gate_proj",
    "ffn.w2": "mlp.down_proj",
    "ffn.w3": "mlp.up_proj",
    "ln_final": "model.norm",
    "lm_head": "lm_head",
}


def llama_config(model: TransformerLM) -> dict[str, Any]:
    """The contents of config.json, without the special tokens.

    Raises:
        MinlmError: the model is an ablation that Llama cannot express.
    """
    config = model.config
    if foreign := [name for name, value in config.items() if value and name not in IN_LLAMA]:
        raise MinlmError(
            f"the model was trained with {', '.join(foreign)}, which cannot be exported: Llama has no such setting. "
            f"Train a model without it."
        )
    assert isinstance(model.ln_final, RMSNorm)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "vocab_size": config["vocab_size"],
        "max_position_embeddings": config["context_length"],
        "hidden_size": config["d_model"],
        "intermediate_size": config["d_ff"],
        "num_hidden_layers": config["num_layers"],
        "num_attention_heads": config["num_heads"],
        "num_key_value_heads": config["num_heads"],
        "head_dim": config["d_model"] // config["num_heads"],
        "hidden_act": "silu",
        "rms_norm_eps": model.ln_final.eps,
        "rope_theta": config["rope_theta"],  # transformers 4; version 5 reads the next line
        "rope_parameters": {"rope_type": "default", "rope_theta": config["rope_theta"]},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
    }


def llama_name(name: str) -> str:
    """Llama's name of a weight in `TransformerLM.state_dict`."""
    module, prefix = name.removesuffix(".weight"), ""
    if module.startswith("layers."):
        _, index, module = module.split(".", 2)
        prefix = f"model.layers.{index}."
    return f"{prefix}{NAMES[module]}.weight"


def llama_weights(model: TransformerLM) -> dict[str, Tensor]:
    """The weights under Llama's names, float32 on the CPU; those in another layout are copies.

    Our RoPE rotates the pairs (2i, 2i+1) of a head, Llama's the pairs (i, i + d_k/2). So each head's query and key
    projections are reordered: the even rows first, then the odd ones.
    """
    num_heads = model.config["num_heads"]
    weights = {}
    for name, tensor in model.state_dict().items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            tensor = evens_first(tensor, num_heads)
        weights[llama_name(name)] = tensor.float().cpu().contiguous()
    return weights
