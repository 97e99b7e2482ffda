"""The model with fast attention, a loss in chunks and recomputed activations."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from minlm.fast.transformer.attention import MultiHeadSelfAttention
from minlm.fast.transformer.loss import linear_cross_entropy
from minlm.transformer import attention, model
from minlm.transformer.attention import KeyValueCache
from minlm.transformer.checks import check_length


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
