"""What a Transformer can know before its first step of training: which token follows which, and where to look.

Without its layers, a Transformer is head(norm(embedding)): a bigram model, which predicts each token from the one
before it alone. Its best weights depend only on how often each pair of tokens occurs, and a count stands for every
place where the pair does. `fit_bigram` finds them in seconds, where training would spend hundreds of steps. In a
Transformer that starts from these embeddings and this head, the layers only have to learn what a pair cannot tell;
until they do, their random weights add some noise to the prediction of the bigram model.

What training then finds first is that the tokens just before matter most. `look_back` lets attention begin with that.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minlm.errors import MinlmError
from minlm.transformer.data import Tokens
from minlm.transformer.model import TransformerLM
from minlm.transformer.modules import Embedding, Linear, RMSNorm
from minlm.transformer.optim import AdamW

STEPS, LEARNING_RATE, BETAS = 40, 0.05, (0.7, 0.9)
LOGIT_CHANGE = 10.0  # at most, by one step: lowers the learning rate of wide models to this / d_model
LOGITS_PER_STEP = 1 << 24  # 64 MB: a vocabulary of 4,096 is fitted to all of its pairs in each step
PAIRS_PER_BLOCK, MAX_BLOCKS = 1 << 22, 16  # of more text, blocks spread evenly over it are counted


def count_pairs(tokens: Tokens, vocab_size: int) -> Tensor:
    """How often each token follows each other one: sparse float32 (vocab_size, vocab_size), row = the first of the two.

    Args:
        tokens: ids below `vocab_size`; of more than 67 million, blocks spread evenly over all are counted.
        vocab_size: number of token ids.
    """
    stride = PAIRS_PER_BLOCK * -(-len(tokens) // (PAIRS_PER_BLOCK * MAX_BLOCKS))
    with torch.sparse.check_sparse_tensor_invariants():
        counts = torch.zeros(vocab_size, vocab_size, layout=torch.sparse_coo)
        for start in range(0, len(tokens) - 1, stride):
            block = torch.from_numpy(tokens[start : start + PAIRS_PER_BLOCK + 1].astype(np.int64))
            pairs = torch.stack((block[:-1], block[1:]))
            counts += torch.sparse_coo_tensor(pairs, torch.ones(pairs.shape[1]), counts.shape)
            counts = counts.coalesce()
    return counts


def fit_bigram(
    counts: Tensor, d_model: int, seed: int = 0, on_step: Callable[[float], None] = lambda loss: None
) -> tuple[Tensor, Tensor]:
    """Embeddings and head, float32 (vocab_size, d_model), that predict the second token of a pair from the first.

    Coordinate 0 of each embedding stays 1: column 0 of the head then holds how frequent each token is, where the fit
    starts, and `look_back` needs it.

    Args:
        counts: from `count_pairs`.
        d_model: dimension of the vectors, the rank of the fit.
        seed: of the initial vectors and of the choice of contexts.
        on_step: called with the loss after each step, in nats per token.
    """
    vocab_size = len(counts)
    first = counts.indices()[0]
    totals = counts.sum(dim=1).to_dense()
    probabilities = torch.sparse_coo_tensor(counts.indices(), counts.values() / totals[first], counts.shape)
    contexts, weights = torch.arange(vocab_size), totals / totals.sum()
    sampled = LOGITS_PER_STEP // vocab_size  # contexts in a step, if not all
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        embeddings, norm, head = Embedding(vocab_size, d_model), RMSNorm(d_model), Linear(d_model, vocab_size)
        with torch.no_grad():
            frequencies = (counts.sum(dim=0).to_dense() + 1).log()
            embeddings.weight[:, 0], head.weight[:, 0] = 1, frequencies - frequencies.mean()
        optimizer = AdamW([embeddings.weight, head.weight], betas=BETAS, weight_decay=0)
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = min(LEARNING_RATE, LOGIT_CHANGE / d_model) * (1 - step / STEPS)
            if sampled < vocab_size:
                contexts = torch.multinomial(totals, sampled, replacement=True)
                weights = torch.full((sampled,), 1 / sampled)
            states = norm(embeddings(contexts))
            # Cross-entropy is logsumexp(logits) minus the mean logit of what follows; the latter needs few logits.
            following = torch.sparse.mm(probabilities.index_select(0, contexts), head.weight)
            loss = weights @ (head(states).logsumexp(dim=-1) - (states * following).sum(dim=-1))
            loss.backward()
            gradient: Any = embeddings.weight.grad
            gradient[:, 0] = 0
            optimizer.step()
            optimizer.zero_grad()
            on_step(loss.item())
    return embeddings.weight.detach(), head.weight.detach()


@torch.no_grad()
def start_from_bigram(model: TransformerLM, embeddings: Tensor, head: Tensor) -> None:
    """Give a model the embeddings and the head of a fit.

    The size of the embeddings, `embedding_std`, is free: the model's norms undo it.

    Raises:
        MinlmError: the fit has another vocabulary or width.
    """
    if embeddings.shape != model.token_embeddings.weight.shape:
        raise MinlmError(
            f"the bigram fit has {embeddings.shape[0]:,} tokens of dimension {embeddings.shape[1]}, but the model has "
            f"{model.config['vocab_size']:,} of {model.config['d_model']}. Fit it anew."
        )
    model.token_embeddings.weight.copy_(embeddings * model.config["embedding_std"])
    model.lm_head.weight.copy_(head)


@torch.no_grad()
def look_back(model: TransformerLM) -> None:
    """Let heads of the first layer begin by attending one, two and three tokens back; one head in four stays random.

    Queries and keys of such a head start from coordinate 0 alone, which becomes the same for all tokens, and only in
    RoPE's pairs of short wavelengths. Scores then depend only on the distance of two positions. They are highest at the
    wanted one; its neighbours get about a seventh of its attention weight. Values stay random, and training may change
    everything. A model without RoPE stays as it is.
    """
    attention: Any = model.layers[0].attn
    if attention.rope is None or model.config["context_length"] == 1:
        return
    model.token_embeddings.weight[:, 0] = model.config["embedding_std"]
    cos, sin = attention.rope.cos, attention.rope.sin  # (positions, d_k / 2): of the angles position · frequency
    d_k, short = 2 * cos.shape[1], cos[1] < math.cos(0.05)  # wavelengths below 2 pi / 0.05 = 126 tokens
    # A neighbour's score is lower by size² · sum(1 - cos(frequency)) / sqrt(d_k), which shall be 2.
    size = (2 * math.sqrt(d_k) / (1 - cos[1][short]).sum()).sqrt() * short
    queries = attention.q_proj.weight.unflatten(0, (attention.num_heads, -1, 2))  # (num_heads, d_k / 2, 2, d_model)
    keys = attention.k_proj.weight.unflatten(0, (attention.num_heads, -1, 2))
    for head in range(attention.num_heads * 3 // 4):
        distance = 1 + head % min(3, len(cos) - 1)
        queries[head] = keys[head] = 0
        queries[head, :, 0, 0], queries[head, :, 1, 0] = size * cos[distance], -size * sin[distance]
        keys[head, :, 0, 0] = size
