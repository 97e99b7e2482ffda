"""The language model: token embeddings, a stack of Transformer blocks, a final norm and a linear head.

A decoder of the Llama family: pre-norm RMSNorm, RoPE, SwiGLU, no biases, head not tied to the embeddings.
"""

from typing import Any

from torch import Tensor, nn

from minlm.transformer.ablations import SiLUFFN
from minlm.transformer.attention import (
    KeyValueCache,
    LayerCache,
    MultiHeadSelfAttention,
    RotaryPositionalEmbedding,
    causal_mask,
)
from minlm.transformer.checks import check_length, check_shape
from minlm.transformer.modules import Embedding, Linear, RMSNorm, SwiGLU
from minlm.transformer.optim import cross_entropy_loss


class TransformerBlock(nn.Module):
    """Attention, then a feed-forward network, each added to its input (the residual stream).

    Args:
        d_model, num_heads, d_ff: see `TransformerLM`.
        rope: shared by all blocks; None leaves positions out.
        disable_rmsnorm: ablation, no norms.
        post_norm: ablation, norm(x + f(x)) as in Vaswani et al. 2017 instead of x + f(norm(x)).
        silu_ffn: ablation, `SiLUFFN` instead of `SwiGLU`.
    """

    def __init__(
        self, d_model: int, num_heads: int, d_ff: int, rope: RotaryPositionalEmbedding | None = None, *,
        disable_rmsnorm: bool = False, post_norm: bool = False, silu_ffn: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.post_norm = post_norm
        self.ln1 = nn.Identity() if disable_rmsnorm else RMSNorm(d_model)
        self.attn = MultiHeadSelfAttention(d_model, num_heads, rope)
        self.ln2 = nn.Identity() if disable_rmsnorm else RMSNorm(d_model)
        self.ffn = SiLUFFN(d_model, d_ff) if silu_ffn else SwiGLU(d_model, d_ff)

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: LayerCache | None = None) -> Tensor:
        """(batch, seq, d_model) → the same shape; mask and cache as for `MultiHeadSelfAttention`."""
        if self.post_norm:
            x = self.ln1(x + self.attn(x, mask, cache))
            return self.ln2(x + self.ffn(x))
        x = x + self.attn(self.ln1(x), mask, cache)
        return x + self.ffn(self.ln2(x))


class TransformerLM(nn.Module):
    """Token ids in, logits of the next token out.

    Args:
        vocab_size: number of token ids.
        context_length: the longest sequence that the model reads at once.
        d_model: dimension of a position's vector; divisible by `num_heads`.
        num_layers: number of Transformer blocks.
        num_heads: number of attention heads in each.
        d_ff: inner dimension of the feed-forward networks; 8/3 · d_model is usual.
        rope_theta: base of RoPE's wavelengths.
        flash_attention: `minlm.fast` uses a fused attention kernel; here it only becomes part of `config`.
        disable_rmsnorm, post_norm, silu_ffn: ablations, see `TransformerBlock`; post_norm also drops the final norm.
        no_rope: ablation, no positions.
        embedding_std: standard deviation of the initial token embeddings.

    Attributes:
        config: all of these as a dict; `TransformerLM(**model.config)` builds the same shape.

    Raises:
        MinlmError: sizes that do not fit each other.
    """

    def __init__(
        self, vocab_size: int, context_length: int, d_model: int, num_layers: int, num_heads: int, d_ff: int,
        rope_theta: float = 10000.0, *, flash_attention: bool = False, disable_rmsnorm: bool = False,
        post_norm: bool = False, no_rope: bool = False, silu_ffn: bool = False, embedding_std: float = 1.0,
    ):  # fmt: skip
        config: dict[str, Any] = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        self.config = config
        check_shape(config)
        rope = None if no_rope else RotaryPositionalEmbedding(rope_theta, d_model // num_heads, context_length)
        self.token_embeddings = Embedding(vocab_size, d_model, std=embedding_std)
        ablations = {"disable_rmsnorm": disable_rmsnorm, "post_norm": post_norm, "silu_ffn": silu_ffn}
        blocks = (TransformerBlock(d_model, num_heads, d_ff, rope, **ablations) for _ in range(num_layers))
        self.layers = nn.ModuleList(blocks)
        self.ln_final = nn.Identity() if disable_rmsnorm or post_norm else RMSNorm(d_model)
        self.lm_head = Linear(d_model, vocab_size)

    def forward(self, token_ids: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Integer ids (batch, seq) → logits (batch, seq, vocab_size) of the token after each.

        Args:
            token_ids: at most `context_length` in a row, those in the cache included.
            cache: holds earlier tokens of the same texts, which these continue; they are added to it.
        """
        return self.lm_head(self.hidden_states(token_ids, cache))

    def loss(self, token_ids: Tensor, targets: Tensor) -> Tensor:
        """Mean negative log-likelihood of the targets (batch, seq), in nats per token."""
        return cross_entropy_loss(self(token_ids), targets)

    def hidden_states(self, token_ids: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """`forward` without the head: (batch, seq) → (batch, seq, d_model)."""
        seq = token_ids.shape[-1]
        mask = causal_mask(seq, token_ids.device) if cache is None else cache.begin(seq, token_ids.device)
        check_length(max(seq, mask.shape[-1]), self.config["context_length"])
        x = self.token_embeddings(token_ids)
        for index, layer in enumerate(self.layers):
            x = layer(x, mask, None if cache is None else cache.layers[index])
        return self.ln_final(x)

    def num_parameters(self) -> int:
        """How many numbers training adjusts, embeddings included."""
        return sum(parameter.numel() for parameter in self.parameters())
