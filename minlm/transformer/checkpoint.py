"""Models and unfinished runs on disk: tensors and plain values, never pickled code.

`model.pt` is a dict that `torch.load(weights_only=True)` accepts:

    model_state_dict   the weights
    model_config       all constructor arguments of `TransformerLM`, so a reader needs no flags
    iteration          training steps done
    tokenizer          fingerprint of the tokenizer it was trained with, or None
    training           the training settings, with the precision and the compilation (on, off) that "auto" chose
"""

import inspect
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from minlm.atomic import atomic_write
from minlm.errors import MinlmError
from minlm.reading import open_stored_zip, quote, reading
from minlm.transformer.checks import spoiled_weight
from minlm.transformer.model import TransformerLM
from minlm.transformer.tensor_file import check_tensors

MODEL_KEYS = ("model_state_dict", "model_config", "iteration", "tokenizer", "training")
MAX_ANGLES = 1 << 26  # of RoPE: a context of a million tokens if a head has 64 dimensions, and 256 MB


def save_model(
    path: str | Path, model: TransformerLM, iteration: int, tokenizer: str | None, training: dict[str, Any]
) -> None:
    """Write a finished model; the same contents give the same bytes, whatever the file is called."""
    contents = {
        "model_state_dict": {name: tensor.cpu() for name, tensor in model.state_dict().items()},
        "model_config": model.config,
        "iteration": iteration,
        "tokenizer": tokenizer,
        "training": training,
    }
    save_tensors(path, contents)


def load_model(
    path: str | Path, device: torch.device | str = "cpu", model_class: type[TransformerLM] = TransformerLM
) -> tuple[TransformerLM, dict[str, Any]]:
    """Rebuild a model from its file; `model_class` is the plain form or its fast namesake in `minlm.fast`.

    Returns:
        the model on `device`, and the other entries: iteration, tokenizer, training.

    Raises:
        MinlmError: the file is missing, damaged, holds code, is not a model of ours, or its weights do not fit its
            shape or are not finite.
    """
    contents = load_tensors(path)
    missing = [key for key in MODEL_KEYS if not isinstance(contents, dict) or key not in contents]
    if missing:
        old = isinstance(contents, dict) and {"model", "model_state_dict"} & contents.keys()
        how = (
            "docs/coming-from-nlm-run.md says how to convert a checkpoint of the old tool."
            if old
            else ("Give a model.pt of `train`.")
        )
        raise MinlmError(f"{path} is not a model of minlm: it lacks {', '.join(missing)}. {how}")
    info = {key: contents[key] for key in ("iteration", "tokenizer", "training")}
    with reading(path, "a model whose weights fit the shape stated with them", "Train again."):
        for key, kind in (("iteration", int), ("tokenizer", str | None), ("training", dict)):
            if not isinstance(info[key], kind):
                raise TypeError(f"its {key} is {quote(info[key])}")
        if odd := [value for value in info["training"].values() if not isinstance(value, str | int | float | None)]:
            raise TypeError(f"a setting is {quote(odd[0])}")
        config, weights = contents["model_config"], contents["model_state_dict"]
        try:
            _check_shape(config, weights)
            model = model_class(**config)
        except MinlmError as error:  # sizes that do not fit each other
            raise ValueError(error) from error
        model.load_state_dict(weights)
    if name := spoiled_weight(model):
        raise MinlmError(f"{path}: the weight {name} holds NaN or infinite values. Train again, with a lower lr_max.")
    return model.to(device), info


def _check_shape(config: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """Check that a model of this configuration has these weights, before anything is as large as the file states.

    Args:
        config: arguments of `TransformerLM`.
        weights: by name.

    Raises:
        MinlmError, or one of reading.UNREADABLE: it has others.
    """
    distinct = {weight.untyped_storage().data_ptr(): weight.untyped_storage().nbytes() for weight in weights.values()}
    if sum(weight.nbytes for weight in weights.values()) > sum(distinct.values()):
        raise ValueError("weights share their data")
    bounds = dict.fromkeys(config, sum(weight.numel() for weight in weights.values()))
    bounds |= {"num_layers": len(weights), "context_length": MAX_ANGLES}
    for name, parameter in inspect.signature(TransformerLM).parameters.items():
        value, kind = config.get(name, parameter.default), parameter.annotation
        if type(value) is not kind and (type(value), kind) != (int, float):
            raise TypeError(f"{name} is {quote(value)}")
        if kind is int and value > bounds[name]:
            raise ValueError(f"{name} is {value:,}")
    if config["context_length"] * config["d_model"] > MAX_ANGLES * max(config["num_heads"], 1):
        raise ValueError(f"context_length is {config['context_length']:,}")
    with torch.device("meta"):  # shapes without memory; the two changed arguments change no weight
        wanted = TransformerLM(**(config | {"context_length": 1, "no_rope": True})).state_dict()
    if unmatched := sorted(wanted.keys() ^ weights.keys()):
        raise ValueError(f"{unmatched[0]} is {'missing' if unmatched[0] in wanted else 'too much'}")
    for name, weight in weights.items():
        if weight.shape != wanted[name].shape or not weight.is_floating_point():
            raise ValueError(f"{name} is {weight.dtype} {tuple(weight.shape)}, not {tuple(wanted[name].shape)}")


def save_checkpoint(
    model: nn.Module, optimizer: torch.optim.Optimizer, iteration: int, out: str | Path | IO[bytes]
) -> None:
    """Write weights, optimizer state and iteration to a path or an open binary file."""
    contents = {
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "iteration": iteration,
    }
    save_tensors(out, contents)


def load_checkpoint(src: str | Path | IO[bytes], model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Put what `save_checkpoint` wrote into a model and an optimizer of the same shape; the iteration.

    Raises:
        MinlmError: the file is missing, damaged, foreign, or of another shape.
    """
    contents = load_tensors(src)
    with reading(_name(src), "a checkpoint of this model", "Give one that was saved of it."):
        model.load_state_dict(contents["model_state_dict"])
        optimizer.load_state_dict(contents["optimizer_state_dict"])
        return contents["iteration"]


def save_tensors(out: str | Path | IO[bytes], contents: dict[str, Any]) -> None:
    """`torch.save`, all or nothing. An open file keeps the file's name out of its bytes."""
    if isinstance(out, str | Path):
        with atomic_write(out, "wb") as handle:
            _save(contents, handle)
    else:
        _save(contents, out)


def _save(contents: dict[str, Any], handle: IO[bytes]) -> None:
    try:
        torch.save(contents, handle)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):  # a full disk: torch, closing its archive, hides the reason
            raise error.__context__ from None
        raise


def load_tensors(src: str | Path | IO[bytes]) -> Any:
    """`torch.load` to the CPU, refusing anything but tensors and plain values.

    Raises:
        MinlmError: the file is missing, not a checkpoint, damaged, or wants to run code.
    """
    if not isinstance(src, str | Path):
        return _load_tensors(src, _name(src))
    if not Path(src).is_file():
        raise MinlmError(f"{src}: there is no such checkpoint.")
    with open(src, "rb") as handle:
        return _load_tensors(handle, _name(src))


def _load_tensors(handle: IO[bytes], name: str) -> Any:
    start = handle.tell()
    with reading(name, "a checkpoint of torch", "Delete it, and make it again."):
        if handle.read(2) != b"PK":  # all that torch has saved since version 1.6 is a zip archive
            raise ValueError("plain pickles can run code and are never loaded")
        with open_stored_zip(handle) as archive:  # torch itself skips the checksums
            check_tensors(archive)
        handle.seek(start)
        return torch.load(handle, map_location="cpu", weights_only=True)


def _name(src: str | Path | IO[bytes]) -> str:
    return str(src) if isinstance(src, str | Path) else "the file"
