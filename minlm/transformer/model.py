"""The language model: token embeddings, a stack of transformer blocks, a final norm and a linear head.

A decoder of the Llama family: pre-norm with RMSNorm, RoPE, SwiGLU, no biases, head not tied to the embeddings.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch._functorch import config as functorch_config
from torch.utils.checkpoint import checkpoint

from minlm.errors import MinlmError
from minlm.fast.transformer.loss import linear_cross_entropy
from minlm.generation.cache import KeyValueCache, LayerCache
from minlm.transformer.attention import MultiHeadSelfAttention, RotaryPositionalEmbedding, causal_mask
from minlm.transformer.modules import Embedding, Linear, RMSNorm, SiLUFFN, SwiGLU

# torch.compile keeps some of what it could compute again from its neighbors, because a GPU would have to wait for it.
KEEP_LESS = {
    "ban_recompute_used_far_apart": False,
    "ban_recompute_long_fusible_chains": False,
    "ban_recompute_materialized_backward": False,
}
# The backward pass is compiled with the first forward pass, so that all that can fail fails there (torch >= 2.8).
AT_ONCE = {name: True for name in ("force_non_lazy_backward_lowering",) if hasattr(functorch_config, name)}


class TransformerBlock(nn.Module):
    """Attention, then feed-forward, each added to its input.

    Args:
        d_model: dimension of a position's vector.
        num_heads: number of attention heads.
        d_ff: inner dimension of the feed-forward part.
        rope: shared by all blocks; None leaves positions out.
        flash_attention: see `MultiHeadSelfAttention`.
        disable_rmsnorm: no norms at all (ablation).
        post_norm: norm(x + f(x)) as in Vaswani et al. 2017 instead of x + f(norm(x)) (ablation).
        silu_ffn: `SiLUFFN` instead of `SwiGLU` (ablation).
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_ff: int,
        rope: RotaryPositionalEmbedding | None = None,
        *,
        flash_attention: bool = False,
        disable_rmsnorm: bool = False,
        post_norm: bool = False,
        silu_ffn: bool = False,
    ):
        super().__init__()
        self.post_norm = post_norm
        self.ln1 = nn.Identity() if disable_rmsnorm else RMSNorm(d_model)
        self.attn = MultiHeadSelfAttention(d_model, num_heads, rope, flash_attention)
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
        context_length: longest sequence the model reads at once.
        d_model: dimension of a position's vector; divisible by `num_heads`.
        num_layers: number of transformer blocks.
        num_heads: number of attention heads in each.
        d_ff: inner dimension of the feed-forward part; 8/3 · d_model is usual.
        rope_theta: base of RoPE's wavelengths.
        flash_attention: a fused attention kernel instead of the explicit one, see `MultiHeadSelfAttention`.
        disable_rmsnorm: ablation, no norms.
        post_norm: ablation, norms behind the additions (and so no final norm).
        no_rope: ablation, no positions.
        silu_ffn: ablation, feed-forward without a gate.
        embedding_std: standard deviation of the token embeddings at the start.

    Attributes:
        config: all of these as a dict; `TransformerLM(**model.config)` builds the same shape.
        gradient_checkpointing: set to True to recompute activations in the backward pass: less memory, more time.

    Raises:
        MinlmError: sizes that do not fit each other.
    """

    def __init__(
        self,
        vocab_size: int,
        context_length: int,
        d_model: int,
        num_layers: int,
        num_heads: int,
        d_ff: int,
        rope_theta: float = 10000.0,
        *,
        flash_attention: bool = False,
        disable_rmsnorm: bool = False,
        post_norm: bool = False,
        no_rope: bool = False,
        silu_ffn: bool = False,
        embedding_std: float = 1.0,
    ):
        super().__init__()
        self.config: dict[str, Any] = {
            "vocab_size": vocab_size, "context_length": context_length, "d_model": d_model,
            "num_layers": num_layers, "num_heads": num_heads, "d_ff": d_ff, "rope_theta": rope_theta,
            "flash_attention": flash_attention, "disable_rmsnorm": disable_rmsnorm, "post_norm": post_norm,
            "no_rope": no_rope, "silu_ffn": silu_ffn, "embedding_std": embedding_std,
        }  # fmt: skip
        for name in ("vocab_size", "context_length", "d_model", "num_layers", "num_heads", "d_ff"):
            if self.config[name] < 1:
                raise MinlmError(f"{name} must be at least 1, not {self.config[name]}.")
        for name in ("rope_theta", "embedding_std"):
            if not 0 < self.config[name] < float("inf"):
                raise MinlmError(f"{name} must be a number above 0, not {self.config[name]}.")
        if d_model % num_heads != 0:
            raise MinlmError(f"d_model ({d_model}) must be divisible by num_heads ({num_heads}).")
        self.gradient_checkpointing = False

        # One table of angles and one mask for all layers; neither belongs in a checkpoint. The mask is made when it is
        # needed: generation needs none, and a long context's is larger than the weights.
        rope = None if no_rope else RotaryPositionalEmbedding(rope_theta, d_model // num_heads, context_length)
        self.causal_mask: Tensor
        self.register_buffer("causal_mask", torch.empty(0, 0, dtype=torch.bool), persistent=False)
        self.token_embeddings = Embedding(vocab_size, d_model, std=embedding_std)
        self.layers = nn.ModuleList(
            TransformerBlock(
                d_model,
                num_heads,
                d_ff,
                rope,
                flash_attention=flash_attention,
                disable_rmsnorm=disable_rmsnorm,
                post_norm=post_norm,
                silu_ffn=silu_ffn,
            )
            for _ in range(num_layers)
        )
        self.ln_final = nn.Identity() if disable_rmsnorm or post_norm else RMSNorm(d_model)
        self.lm_head = Linear(d_model, vocab_size)

    def forward(self, token_ids: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Integer ids (batch, seq) → logits (batch, seq, vocab_size) of the token behind each.

        Args:
            token_ids: at most `context_length` of them in a row, what the cache holds included.
            cache: what was read before these tokens, see `KeyValueCache`; theirs is added.
        """
        return self.lm_head(self.hidden_states(token_ids, cache))

    def loss(self, token_ids: Tensor, targets: Tensor) -> Tensor:
        """Mean nats per token, as `cross_entropy_loss(model(token_ids), targets)`, but in less memory."""
        return linear_cross_entropy(self.hidden_states(token_ids), self.lm_head.weight, targets)

    def hidden_states(self, token_ids: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """`forward` without the head: (batch, seq) → (batch, seq, d_model)."""
        mask = self.mask(token_ids.shape[-1], cache)
        return self.transform(self.token_embeddings(token_ids), mask, cache)

    def mask(self, length: int, cache: KeyValueCache | None = None) -> Tensor:
        """Which positions `length` new tokens attend to, see `MultiHeadSelfAttention`.

        Raises:
            MinlmError: there are more than the context holds.
        """
        mask = None if cache is None else cache.begin(length)
        longest = length if mask is None else mask.shape[-1]
        if longest > (context_length := self.config["context_length"]):
            raise MinlmError(f"a sequence of {longest} tokens is longer than the model's context of {context_length}.")
        if mask is not None:
            return mask
        if length > len(self.causal_mask):
            with torch.inference_mode(False):  # training may need it later
                self.causal_mask = causal_mask(length, self.causal_mask.device)
        return self.causal_mask[:length, :length]

    def transform(self, x: Tensor, mask: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """What is between the embeddings and the head: (batch, seq, d_model) → the same shape."""
        for index, layer in enumerate(self.layers):
            if self.gradient_checkpointing and torch.is_grad_enabled():
                # There is no randomness to repeat; torch.mps lacks what would save its state.
                x = checkpoint(layer, x, mask, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(x, mask, None if cache is None else cache.layers[index])
        return self.ln_final(x)

    def new_cache(self, batch_size: int) -> KeyValueCache:
        """An empty key/value cache for `batch_size` sequences."""
        weight = self.lm_head.weight
        num_layers, num_heads = self.config["num_layers"], self.config["num_heads"]
        d_k = self.config["d_model"] // num_heads
        return KeyValueCache(
            batch_size, num_layers, num_heads, self.config["context_length"], d_k, weight.device, weight.dtype
        )

    def num_parameters(self) -> int:
        """How many numbers training adjusts, embeddings included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def spoiled_weight(self) -> str | None:
        """The name of a weight that holds a NaN or an infinity; None if all are finite. Waits for the device once."""
        weights = dict(self.named_parameters())
        extremes = torch.stack([torch.stack(weight.detach().aminmax()) for weight in weights.values()])
        finite = extremes.isfinite().all(dim=1).tolist()
        return next((name for name, good in zip(weights, finite, strict=True) if not good), None)

    def flops_per_token(self) -> int:
        """Floating-point operations of training on one token, forward and backward (Chowdhery et al. 2022, appendix B).

        6 for each weight of a matrix product and 12 · num_layers · d_model · context_length for attention.
        """
        config = self.config
        weights = self.num_parameters() - self.token_embeddings.weight.numel()  # looking up an embedding costs nothing
        return 6 * weights + 12 * config["num_layers"] * config["d_model"] * config["context_length"]


class LanguageModelLoss(nn.Module):
    """`TransformerLM.loss` as a module, which is what DistributedDataParallel wraps; perhaps compiled."""

    def __init__(self, model: TransformerLM, compiled: bool):
        super().__init__()
        self.model = model
        self.compiled = compiled
        self.transform = torch.compile(model.transform) if compiled else model.transform

    def stop_compiling(self) -> None:
        """From now on compute without torch.compile."""
        self.compiled, self.transform = False, self.model.transform

    def forward(self, token_ids: Tensor, targets: Tensor) -> Tensor:
        """Ids and targets (batch, seq) → mean nats per token."""
        # The embeddings stay out of what is compiled: torch.compile adds their gradients up one by one.
        x, mask = self.model.token_embeddings(token_ids), self.model.mask(token_ids.shape[-1])
        options = {} if not self.compiled else AT_ONCE | KEEP_LESS if x.device.type == "cpu" else AT_ONCE
        with functorch_config.patch(options):
            hidden = self.transform(x, mask)
        return linear_cross_entropy(hidden, self.model.lm_head.weight, targets, compiled=self.compiled)
