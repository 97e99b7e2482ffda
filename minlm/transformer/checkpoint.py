"""Models and unfinished runs on disk: tensors and plain values only, never pickled code.

`model.pt` is a dict that `torch.load(weights_only=True)` accepts:

    model_state_dict   the weights
    model_config       all constructor arguments of `TransformerLM`, so a reader needs no flags
    iteration          training steps behind it
    tokenizer          fingerprint of the tokenizer whose ids it speaks, or None
    training           the training settings
"""

import pickle
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from minlm.atomic import atomic_write
from minlm.errors import MinlmError
from minlm.transformer.model import TransformerLM

MODEL_KEYS = ("model_state_dict", "model_config", "iteration", "tokenizer", "training")


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
            shape.
    """
    contents = load_tensors(path)
    missing = [key for key in MODEL_KEYS if not isinstance(contents, dict) or key not in contents]
    if missing:
        raise MinlmError(f"{path} is not a model of minlm: it lacks {', '.join(missing)}. Give a model.pt of `train`.")
    try:
        model = model_class(**contents["model_config"])
        model.load_state_dict(contents["model_state_dict"])
    except (TypeError, RuntimeError, AttributeError, MinlmError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise MinlmError(
            f"{path}: the weights do not fit the shape stated with them ({reason}). Train again."
        ) from error
    return model.to(device), {key: contents[key] for key in ("iteration", "tokenizer", "training")}


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
    try:
        model.load_state_dict(contents["model_state_dict"])
        optimizer.load_state_dict(contents["optimizer_state_dict"])
        return contents["iteration"]
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[-1].strip()
        name = src if isinstance(src, str | Path) else "the file"
        raise MinlmError(f"{name} does not hold a checkpoint of this model ({reason}).") from error


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
        return _load_tensors(src, "the checkpoint")
    if not Path(src).is_file():
        raise MinlmError(f"{src}: there is no such checkpoint.")
    with open(src, "rb") as handle:
        return _load_tensors(handle, str(src))


def _load_tensors(handle: IO[bytes], name: str) -> Any:
    start = handle.tell()
    is_zip = handle.read(2) == b"PK"
    handle.seek(start)
    if not is_zip:  # all that torch has saved since version 1.6 is a zip archive
        raise MinlmError(f"{name} is not a checkpoint of torch. Plain pickles can run code and are never loaded.")
    try:
        if (entry := zipfile.ZipFile(handle).testzip()) is not None:  # torch itself skips the checksums
            raise zipfile.BadZipFile(entry)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError) as error:
        raise MinlmError(f"{name} is damaged. Delete it, and make it again.") from error
    handle.seek(start)
    try:
        return torch.load(handle, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise MinlmError(f"{name} holds pickled code, which is not run. It is not a checkpoint of minlm.") from error
    except RuntimeError as error:
        raise MinlmError(f"{name} is a zip archive, but not a checkpoint of torch.") from error
