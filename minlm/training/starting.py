"""The finished model from which a training starts (`init_from`): what it fixes, and its weights in the new model."""

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minlm.errors import MinlmError
from minlm.progress import log
from minlm.tokenization import BPETokenizer
from minlm.transformer import TransformerLM
from minlm.transformer.checkpoint import load_model

# What may differ from the finished model: RoPE has no weights, new tokens get rows, the rest changes no weight.
MAY_DIFFER = ("context_length", "vocab_size", "flash_attention", "embedding_std")
PER_TOKEN = ("token_embeddings.weight", "lm_head.weight")


class FinishedModel:
    """A finished model to start from.

    Args:
        path: a `model.pt`.

    Attributes:
        config: constructor arguments of `TransformerLM`.
        weights: by name.

    Raises:
        MinlmError: see `load_model`.
    """

    def __init__(self, path: str | Path):
        self.path = path
        model, info = load_model(path)
        self.config: dict[str, Any] = model.config
        self.weights: dict[str, Tensor] = model.state_dict()
        self.tokenizer: str | None = info["tokenizer"]

    def check(self, config: dict[str, Any], tokenizer: BPETokenizer | None) -> None:
        """Refuse a training that cannot start from this model; log what is new in it.

        Raises:
            MinlmError: another architecture, a smaller vocabulary, or another tokenizer.
        """
        parameters = inspect.signature(TransformerLM).parameters
        config = {name: config.get(name, parameters[name].default) for name in self.config}
        for name, value in self.config.items():
            if name not in MAY_DIFFER and config[name] != value:
                raise MinlmError(
                    f"--{name} is {config[name]}, but {self.path}, from which the training starts, has {value}. "
                    "Leave it out, or give the same."
                )
        new_tokens = config["vocab_size"] - self.config["vocab_size"]
        if new_tokens < 0:
            raise MinlmError(
                f"--vocab_size is {config['vocab_size']:,}, but {self.path}, from which the training starts, has "
                f"{self.config['vocab_size']:,} tokens. Give that many or more."
            )
        if tokenizer is not None and self.tokenizer is not None and not extends(tokenizer, self.tokenizer):
            raise MinlmError(
                f"{self.path}, from which the training starts, was trained with another tokenizer. Make the tokens "
                "with that one; an experiment that starts from another uses its tokenizer (docs/finetuning.md)."
            )
        log.info(f"starting from {self.path}")
        if new_tokens:
            log.info(f"{new_tokens:,} new token ids start as the mean of the others")
        if (length := config["context_length"]) != self.config["context_length"]:
            log.info(f"the context has {length:,} tokens instead of {self.config['context_length']:,}")

    def start(self, model: TransformerLM) -> None:
        """Give a model these weights. New tokens start as the mean of the others (Hewitt 2021)."""
        weights = dict(self.weights)
        for name in PER_TOKEN:
            new = model.config["vocab_size"] - len(weights[name])
            weights[name] = torch.cat((weights[name], weights[name].mean(dim=0).expand(new, -1)))
        model.load_state_dict(weights)


def extends(tokenizer: BPETokenizer, fingerprint: str) -> bool:
    """Whether a tokenizer is the one with this fingerprint, or it with more special tokens at the end."""
    vocab = dict(tokenizer.vocab)
    special = {token.encode() for token in tokenizer.special_tokens}
    while True:
        if BPETokenizer(vocab, tokenizer.merges).fingerprint == fingerprint:
            return True
        if vocab.pop(max(vocab)) not in special:
            return False
