"""The model, its training and its use in plain PyTorch; docs/reading.md walks through it in order."""

from minlm.transformer.ablations import SiLUFFN
from minlm.transformer.attention import (
    MultiHeadSelfAttention,
    RotaryPositionalEmbedding,
    scaled_dot_product_attention,
)
from minlm.transformer.checkpoint import load_checkpoint, save_checkpoint
from minlm.transformer.classic import get_batch, get_lr_cosine_schedule, softmax
from minlm.transformer.model import TransformerBlock, TransformerLM
from minlm.transformer.modules import Embedding, Linear, RMSNorm, SwiGLU
from minlm.transformer.optim import AdamW, cross_entropy_loss, get_lr_linear_schedule, gradient_clipping
from minlm.transformer.sampling import generate

__all__ = [
    "AdamW",
    "Embedding",
    "Linear",
    "MultiHeadSelfAttention",
    "RMSNorm",
    "RotaryPositionalEmbedding",
    "SiLUFFN",
    "SwiGLU",
    "TransformerBlock",
    "TransformerLM",
    "cross_entropy_loss",
    "generate",
    "get_batch",
    "get_lr_cosine_schedule",
    "get_lr_linear_schedule",
    "gradient_clipping",
    "load_checkpoint",
    "save_checkpoint",
    "scaled_dot_product_attention",
    "softmax",
]
