"""The fast form of `minlm.transformer`: the same names with the same arguments and results."""

from minlm.fast.transformer.attention import MultiHeadSelfAttention
from minlm.fast.transformer.model import TransformerLM
from minlm.fast.transformer.optim import AdamW, gradient_clipping

__all__ = ["AdamW", "MultiHeadSelfAttention", "TransformerLM", "gradient_clipping"]
