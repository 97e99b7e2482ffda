"""The flags of the programs that use a trained model or its tokenizer."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from minlm.tokenization import BPETokenizer
    from minlm.transformer import TransformerLM


def add_tokenizer_options(parser: argparse.ArgumentParser) -> None:
    """Add `--vocab_path` and `--merges_path`."""
    parser.add_argument("--vocab_path", required=True, metavar="FILE", help="vocab.json of the tokenizer")
    parser.add_argument("--merges_path", required=True, metavar="FILE", help="merges.txt of the tokenizer")


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add `--checkpoint` and the flags of the tokenizer that it was trained with."""
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="The model (model.pt)")
    add_tokenizer_options(parser)


def load_model(
    arguments: argparse.Namespace, device: "torch.device | None" = None
) -> "tuple[TransformerLM, BPETokenizer, dict[str, Any]]":
    """The model, on `device` or `--device`, with `--threads` if there are these flags; see `load_with_tokenizer`."""
    from minlm.generation.load import load_with_tokenizer
    from minlm.training.device import resolve_device, set_threads

    set_threads(getattr(arguments, "threads", None))
    chosen = device or (resolve_device(arguments.device) if "device" in arguments else "cpu")
    return load_with_tokenizer(arguments.checkpoint, arguments.vocab_path, arguments.merges_path, chosen)
