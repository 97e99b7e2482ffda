"""The model with fast attention, a loss in chunks, recomputed activations and torch.compile."""

from typing import Any

import torch
from torch import Tensor, nn
from torch._functorch import config as functorch_config
from torch.utils.checkpoint import checkpoint

from minlm.fast.transformer.attention import MultiHeadSelfAttention
from minlm.fast.transformer.loss import linear_cross_entropy
from minlm.transformer import attention, model
from minlm.transformer.attention import KeyValueCache
from minlm.transformer.checks import check_length

# torch.compile keeps some of what it could compute again from its neighbors, because a GPU would have to wait for it.
KEEP_LESS = {
    "ban_recompute_used_far_apart": False,
    "ban_recompute_long_fusible_chains": False,
    "ban_recompute_materialized_backward": False,
}
# The backward pass is compiled with the first forward pass, so that all that can fail fails there (torch >= 2.8).
AT_ONCE = {name: True for name in ("force_non_lazy_backward_lowering",) if hasattr(functorch_config, name)}


class TransformerLM(model.TransformerLM):
    """`model.TransformerLM` with the same parameters and results, in less time and memory.

    Attributes:
        gradient_checkpointing: set to True to recompute activations in the backward pass: less memory, more time.
    """

    def __init__(self, *args: Any, **keywords: Any):
        super().__init__(*args, **keywords)
        self.gradient_checkpointing = False
        # The mask is made at the length that is needed: a long context's is larger than the weights.
        self.causal_mask: Tensor
        self.register_buffer("causal_mask", torch.empty(0, 0, dtype=torch.bool), persistent=False)
        for module in self.modules():
            if isinstance(module, attention.MultiHeadSelfAttention):
                module.__class__ = MultiHeadSelfAttention  # the same parameters, another `forward`
                module.flash_attention = self.config["flash_attention"]

    def loss(self, token_ids: Tensor, targets: Tensor) -> Tensor:
        """As in the plain form, without ever holding all logits."""
        return linear_cross_entropy(self.hidden_states(token_ids), self.lm_head.weight, targets)

    def hidden_states(self, token_ids: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """As in the plain form."""
        mask = self.mask(token_ids.shape[-1], cache)
        return self.transform(self.token_embeddings(token_ids), mask, cache)

    def mask(self, length: int, cache: KeyValueCache | None = None) -> Tensor:
        """Boolean (…, length, keys): the positions that `length` new tokens attend to."""
        mask = None if cache is None else cache.begin(length, self.causal_mask.device)
        check_length(length if mask is None else mask.shape[-1], self.config["context_length"])
        if mask is not None:
            return mask
        if length > len(self.causal_mask):
            with torch.inference_mode(False):  # training may need it later
                self.causal_mask = attention.causal_mask(length, self.causal_mask.device)
        return self.causal_mask[:length, :length]

    def transform(self, x: Tensor, mask: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Everything between the embeddings and the head: (batch, seq, d_model) → the same shape."""
        for index, layer in enumerate(self.layers):
            if self.gradient_checkpointing and torch.is_grad_enabled():
                # There is no randomness to repeat; torch.mps lacks what would save its state.
                x = checkpoint(layer, x, mask, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(x, mask, None if cache is None else cache.layers[index])
        return self.ln_final(x)


class LanguageModelLoss(nn.Module):
    """`TransformerLM.loss` as a module, which is what DistributedDataParallel wraps; perhaps compiled."""

    def __init__(self, model: model.TransformerLM, compiled: bool = False):
        super().__init__()
        self.model = model
        self.transform = torch.compile(model.transform) if compiled and isinstance(model, TransformerLM) else None

    def stop_compiling(self) -> None:
        """From now on compute without torch.compile."""
        self.transform = None

    def forward(self, token_ids: Tensor, targets: Tensor) -> Tensor:
        """Ids and targets (batch, seq) → mean nats per token."""
        if self.transform is None or not isinstance(self.model, TransformerLM):
            return self.model.loss(token_ids, targets)
        # The embeddings stay out of what is compiled: torch.compile adds their gradients up one by one.
        x, mask = self.model.token_embeddings(token_ids), self.model.mask(token_ids.shape[-1])
        with functorch_config.patch(AT_ONCE | KEEP_LESS if x.device.type == "cpu" else AT_ONCE):
            hidden = self.transform(x, mask)
        return linear_cross_entropy(hidden, self.model.lm_head.weight, targets, compiled=True)


def training_flops_per_token(model: model.TransformerLM) -> int:
    """Floating-point operations of training on one token, forward and backward (Chowdhery et al. 2022, appendix B).

    6 for each weight of a matrix product and 12 · num_layers · d_model · context_length for attention.
    """
    config = model.config
    weights = model.num_parameters() - model.token_embeddings.weight.numel()  # looking up an embedding costs nothing
    return 6 * weights + 12 * config["num_layers"] * config["d_model"] * config["context_length"]
