"""The file of a bigram fit: embeddings and head that a training starts from."""

from pathlib import Path

import torch
from torch import Tensor

from minlm.progress import Progress, log
from minlm.reading import reading
from minlm.training.tokens import open_tokens
from minlm.transformer.checkpoint import load_tensors, save_tensors
from minlm.transformer.init import STEPS, count_pairs, fit_bigram

KEYS = ("embeddings", "head")


def fit_to_file(token_paths: list[str], vocab_size: int, d_model: int, out: str | Path) -> None:
    """Count the pairs in `.npy` files of token ids, fit the bigram model and write it.

    Raises:
        MinlmError: the tokens cannot be read or do not fit the vocabulary, or `out` cannot be written.
    """
    counts = count_pairs(open_tokens(token_paths, vocab_size, context_length=1), vocab_size)
    losses: list[float] = []
    with Progress(STEPS, "fitting token pairs", "steps") as progress:

        def on_step(loss: float) -> None:
            losses.append(loss)
            progress.update(1, f"loss {loss:.3f}")

        embeddings, head = fit_bigram(counts, d_model, on_step=on_step)
    save_tensors(out, dict(zip(KEYS, (embeddings, head), strict=True)))
    log.info(f"wrote {out}: {counts._nnz():,} different pairs, loss {losses[-1]:.3f} nats/token as a bigram model")


def load_bigram(path: str | Path) -> tuple[Tensor, Tensor]:
    """The embeddings and the head, float32 (vocab_size, d_model).

    Raises:
        MinlmError: the file is missing or damaged, or holds something else.
    """
    contents = load_tensors(path)
    with reading(path, "a bigram fit", "`python -m minlm.scripts.fit_bigram` writes one."):
        embeddings, head = (contents[key] for key in KEYS)
        for tensor in (embeddings, head):
            if tensor.dtype != torch.float32 or tensor.ndim != 2 or tensor.shape != embeddings.shape:
                raise ValueError(f"it has {tensor.dtype} of shape {tuple(tensor.shape)}")
            if not tensor.isfinite().all():
                raise ValueError("it holds NaN or infinite values")
        return embeddings, head
