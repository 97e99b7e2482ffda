"""Loading a trained model with its tokenizer."""

from pathlib import Path
from typing import Any

import torch

from minlm.documents import SEPARATOR
from minlm.errors import MinlmError
from minlm.fast import transformer as fast
from minlm.tokenization import BPETokenizer
from minlm.transformer.checkpoint import load_model
from minlm.transformer.model import TransformerLM
from minlm.transformer.modules import Linear


def load_with_tokenizer(
    checkpoint: str | Path,
    vocab_path: str | Path,
    merges_path: str | Path,
    device: torch.device | str = "cpu",
) -> tuple[TransformerLM, BPETokenizer, dict[str, Any]]:
    """Load a checkpoint and its tokenizer, and check that they belong together.

    Returns:
        the model, ready for generation; the tokenizer; and the checkpoint's other entries, see `checkpoint.load_model`.

    Raises:
        MinlmError: a file is missing or damaged, or the model was trained with another tokenizer.
    """
    tokenizer = BPETokenizer.from_files(vocab_path, merges_path, special_tokens=[SEPARATOR])
    model, info = load_model(checkpoint, device, fast.TransformerLM)
    if info["tokenizer"] not in (None, tokenizer.fingerprint):
        raise MinlmError(
            f"{checkpoint} was trained with another tokenizer, not with {vocab_path} and {merges_path}; "
            "give the files it was trained with."
        )
    largest = max(tokenizer.vocab)
    if largest >= model.config["vocab_size"]:
        raise MinlmError(
            f"{vocab_path} has token ids up to {largest}, but the model in {checkpoint} has only "
            f"{model.config['vocab_size']} tokens; give the files it was trained with."
        )
    return prepare_for_generation(model), tokenizer, info


def prepare_for_generation(model: TransformerLM) -> TransformerLM:
    """Switch to evaluation mode and, on a CPU, store the weights of linear layers column by column.

    Names, shapes and values stay the same; products with few rows become 5 to 10 % faster.
    """
    if model.lm_head.weight.device.type == "cpu":
        for module in model.modules():
            if isinstance(module, Linear):
                module.weight.data = module.weight.data.t().contiguous().t()
    return model.eval()
