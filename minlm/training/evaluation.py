"""How well a model predicts text that it has not been trained on."""

import bz2
import json
import lzma
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minlm.atomic import atomic_write
from minlm.errors import MinlmError
from minlm.progress import Progress
from minlm.reading import parse_json, quote, reading
from minlm.tokenization import BPETokenizer
from minlm.training.conversations import Conversations
from minlm.training.device import autocast
from minlm.training.processes import Processes
from minlm.transformer.data import Tokens, evaluation_batches, windows
from minlm.transformer.model import TransformerLM

BLOCK = 1 << 20  # bytes of text read at a time
PIECE, PIECES = 16, 6  # blocks in a piece of a long text for the compressors, longer than lzma's window; pieces
FIGURES = ("nats_per_token", "perplexity", "bits_per_byte", "tokens", "bytes", "parameters")


def validation_loss(
    model: TransformerLM,
    dataset: Tokens,
    context_length: int,
    batch_size: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    processes: Processes | None = None,
    most: int | None = None,
) -> float:
    """Mean nats per token over the whole data set, in fixed windows that do not overlap.

    Every token but the first counts once, or every target of `Conversations`; of another data set with more than `most`
    of them only those of `sample_starts`. `dtype` is the precision of matrix products, see `device.autocast`; the mean
    is computed in float64 on the CPU. Several processes share the windows.
    """
    processes = processes or Processes()
    rank, count = processes.rank, processes.count
    losses, counts = [], []  # of each batch; read at the end, so that only the end waits for the device
    was_training = model.training
    model.eval()
    with torch.inference_mode(), autocast(torch.device(device), dtype):
        if isinstance(dataset, Conversations):
            batches = dataset.evaluation_batches(batch_size, device, rank, count)
        elif (starts := sample_starts(dataset, context_length, most)) is not None:
            firsts = range(0, len(starts), batch_size)[rank::count]
            batches = (windows(dataset, starts[i : i + batch_size], context_length, device) for i in firsts)
        else:
            batches = evaluation_batches(dataset, batch_size, context_length, device, rank, count)
        for inputs, targets in batches:
            losses.append(model.loss(inputs, targets))
            counts.append(targets.numel())
        values = torch.stack(losses).tolist() if losses else []  # more processes than batches
    model.train(was_training)
    total = torch.tensor(sum(loss * count for loss, count in zip(values, counts, strict=True)), dtype=torch.float64)
    return float(processes.sum(total)) / num_targets(dataset, context_length, most)


def sample_starts(dataset: Tokens, context_length: int, most: int | None) -> np.ndarray | None:
    """Where the windows of a sample with `most` targets begin, spread evenly; None if the whole data set is read."""
    if most is None or len(dataset) - 1 <= max(most, context_length) or isinstance(dataset, Conversations):
        return None
    windows = (len(dataset) - 1) // context_length
    kept = min(windows, max(1, most // context_length))
    return context_length * (np.arange(kept) * windows // kept)


def num_targets(dataset: Tokens, context_length: int, most: int | None) -> int:
    """The number of tokens that `validation_loss` predicts."""
    starts = sample_starts(dataset, context_length, most)
    return len(dataset) - 1 if starts is None else len(starts) * context_length


def evaluate(
    model: TransformerLM,
    tokens: Tokens,
    tokenizer: BPETokenizer,
    text_path: str | Path,
    *,
    batch_size: int = 32,
    iteration: int | None = None,
    processes: Processes | None = None,
) -> dict[str, Any]:
    """Loss, perplexity and bits per byte of a model, and bits per byte of two compressors on the same text.

    Bits per byte is the loss of all predicted tokens, in bits, divided by the bytes of their text, so models with
    different vocabularies can be compared. Special tokens add to the loss but not to the bytes.

    Args:
        model: on any device.
        tokens: the validation set.
        tokenizer: made the tokens.
        text_path: the validation text, for the compressors.
        batch_size: windows at a time.
        iteration: training steps of the model, copied into the result.
        processes: evaluate together; the first one reads the text.

    Raises:
        MinlmError: the text is missing or empty, the tokens are all special, or the loss is not finite.
    """
    processes = processes or Processes()
    if batch_size < 1:
        raise MinlmError(f"the batch size must be at least 1, not {batch_size}.")
    baseline, sample, num_bytes = processes.from_first(lambda: _about_the_text(text_path, tokens, tokenizer))
    predicted = len(tokens) - 1
    nats = validation_loss(
        model, tokens, model.config["context_length"], batch_size, model.lm_head.weight.device, processes=processes
    )
    if not math.isfinite(nats):
        raise MinlmError(f"the model's loss on these tokens is {nats}. Train it again, with a lower lr_max.")
    return {
        "nats_per_token": nats,
        "perplexity": math.exp(nats) if nats < 709 else math.inf,  # beyond what a float holds
        "bits_per_byte": nats * predicted / math.log(2) / num_bytes,
        "tokens": predicted,
        "bytes": num_bytes,
        "baseline": baseline,
        **sample,
        "parameters": model.num_parameters(),
        "iteration": iteration,
    }


def _about_the_text(
    path: str | Path, tokens: Tokens, tokenizer: BPETokenizer
) -> tuple[dict[str, float], dict[str, int], int]:
    """What two compressors achieve, the size of their sample of a long text, and the bytes of text in the tokens."""
    size, sample = text_size(path), {}
    if size > PIECE * PIECES * BLOCK:
        sample = {"baseline_sample_bytes": PIECE * PIECES * BLOCK}
    baseline = {
        "lzma_bits_per_byte": compressed_bits_per_byte(path, lzma.LZMACompressor),
        "bz2_bits_per_byte": compressed_bits_per_byte(path, bz2.BZ2Compressor),
    }
    num_bytes = text_bytes(tokens, tokenizer)
    if num_bytes == 0:
        raise MinlmError("the validation tokens are all special tokens, so there is no text; check the tokens file.")
    return baseline, sample, num_bytes


def write_evaluation(path: str | Path, result: dict[str, Any]) -> None:
    """Write what `evaluate` returned as JSON."""
    with atomic_write(path) as handle:
        json.dump(result, handle, indent=2)
        handle.write("\n")


def read_evaluation(path: str | Path, names: Collection[str] = FIGURES) -> dict[str, Any]:
    """Read what `write_evaluation` wrote, and check the figures in `names` and those of the compressors.

    Raises:
        MinlmError: the file is missing or damaged, or lacks a figure.
    """
    with reading(path, "an evaluation of minlm", "`python -m minlm.scripts.evaluate` writes one."):
        result = {"baseline": {}, "iteration": None} | parse_json(Path(path).read_text(encoding="utf-8"))
        numbers = {name: result[name] for name in names} | dict(**result["baseline"])
        for name, value in {**numbers, "iteration": result["iteration"] or 0}.items():
            if type(value) not in (int, float) or not 0 <= value < (math.inf if isinstance(value, float) else 2**63):
                raise ValueError(f"{name} is {quote(value)}")
    return result


def text_bytes(tokens: Tokens, tokenizer: BPETokenizer, context_length: int = 1, most: int | None = None) -> int:
    """The number of bytes of text in what `validation_loss` predicts: by default all tokens but the first.

    Special tokens have none.

    Raises:
        MinlmError: the tokenizer lacks an id.
    """
    special = {token.encode() for token in tokenizer.special_tokens}
    bytes_of_id = np.zeros(max(tokenizer.vocab) + 1, dtype=np.int64)
    for token_id, token in tokenizer.vocab.items():
        bytes_of_id[token_id] = 0 if token in special else len(token)
    starts, length = sample_starts(tokens, context_length, most), context_length
    if starts is None:
        starts, length = np.arange(0, len(tokens) - 1, BLOCK), BLOCK
    try:
        return sum(int(bytes_of_id[tokens[start + 1 : start + 1 + length]].sum()) for start in starts.tolist())
    except IndexError as error:
        raise MinlmError(
            "the validation tokens have an id that the tokenizer lacks. Give the tokenizer that made them."
        ) from error


def text_size(path: str | Path) -> int:
    """The size of a text in bytes.

    Raises:
        MinlmError: it is missing or empty.
    """
    if not Path(path).exists():
        raise MinlmError(f"{path}: there is no such text file.")
    if (size := Path(path).stat().st_size) == 0:
        raise MinlmError(f"{path}: the text is empty.")
    return size


def compressed_bits_per_byte(path: str | Path, make_compressor: Callable[[], Any]) -> float:
    """Bits per byte of a text, compressed by the standard library with its default settings.

    Of a text of more than 96 MiB, 6 evenly spaced pieces of 16 MiB are compressed as one.
    """
    size, compressor = text_size(path), make_compressor()
    pieces = -(-size // (PIECE * BLOCK))
    kept = min(pieces, PIECES)
    if pieces > PIECES:
        pieces = size // (PIECE * BLOCK)  # only whole ones
    read = written = 0
    with (
        open(path, "rb") as handle,
        Progress(min(size, kept * PIECE * BLOCK), f"compressing {Path(path).name}", "B") as progress,
    ):
        for number in range(kept):
            handle.seek(number * pieces // kept * PIECE * BLOCK)
            for _ in range(PIECE):
                block = handle.read(BLOCK)
                read += len(block)
                written += len(compressor.compress(block))
                progress.update(len(block))
    return 8 * (written + len(compressor.flush())) / read
