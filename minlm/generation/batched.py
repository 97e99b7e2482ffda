"""Generation in production: many texts in a batch, or one as a stream.

`minlm.transformer.generate` is the definition: it continues one prompt and is written to be read. Here many texts
advance together, and none depends on the others. `batch_cache` holds their keys and values, and `draw` draws the next
token of each. The same seed gives the tokens of `generate`, unless rounding moves a draw to the neighboring token.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minlm.errors import MinlmError
from minlm.generation.batch_cache import BatchCache
from minlm.generation.draw import NO_TOKEN, draw_tokens
from minlm.progress import Progress
from minlm.transformer.checks import check_request, what_is_spoiled
from minlm.transformer.devices import move
from minlm.transformer.model import TransformerLM


@dataclass
class Request:
    """One text to generate. The attributes mean what the arguments of `minlm.transformer.generate` mean."""

    prompt_ids: Sequence[int]
    temperature: float = 1.0
    top_p: float | None = None
    seed: int | None = None
    top_k: int | None = None


@dataclass(frozen=True)
class StreamedToken:
    """A token that `stream` has drawn. Probabilities are the model's own: temperature 1, before top_k and top_p.

    Attributes:
        token: its id.
        probability: its probability.
        alternatives: (id, probability) of the most probable tokens, in descending order; may include this token.
    """

    token: int
    probability: float
    alternatives: list[tuple[int, float]]


def generate_batch(
    model: TransformerLM,
    requests: Sequence[Request],
    max_new_tokens: int,
    stop_token: int | None = None,
    vocab_size: int | None = None,
) -> list[Tensor]:
    """Continue all prompts together, each as `minlm.transformer.generate` would.

    Args:
        model: on any device.
        requests: the texts to generate; prompts may differ in length.
        max_new_tokens: limit for each text.
        stop_token: a text ends when this is drawn; it is not part of the result.
        vocab_size: only ids below this are drawn, for a model with more ids than its tokenizer; None draws all.

    Returns:
        for each request int64 (prompt + new tokens,) on the CPU.

    Raises:
        MinlmError: an empty prompt, an unknown token, a setting out of range, or logits that are not finite.
    """
    texts = make_texts(model, requests, max_new_tokens)
    batch = Batch(model, stop_token, vocab_size)
    batch.add(texts)
    with Progress(max_new_tokens, "generating", "tokens") as progress:
        while batch.texts:
            batch.step()
            progress.update(1)
    return [torch.tensor(text.ids, dtype=torch.int64) for text in texts]


def stream(
    model: TransformerLM,
    request: Request,
    max_new_tokens: int,
    stop_token: int | None = None,
    vocab_size: int | None = None,
    num_alternatives: int = 0,
) -> Iterator[StreamedToken]:
    """Continue one prompt and yield each new token as soon as it is drawn, with `num_alternatives` alternatives.

    The model runs only while the caller waits for the next token. The other arguments and the errors are those of
    `generate_batch`; a bad argument fails at the call, not at the first token.
    """
    texts = make_texts(model, [request], max_new_tokens)
    batch = Batch(model, stop_token, vocab_size)
    batch.add(texts)
    return _stream(batch, num_alternatives)


def _stream(batch: "Batch", num_alternatives: int) -> Iterator[StreamedToken]:
    while batch.texts:
        _, drawn, logits = batch.step()
        [token] = describe(drawn, logits, num_alternatives)
        if token.token != batch.stop_token:
            yield token


@dataclass(eq=False)
class Text:
    """A text of a `Batch`.

    Attributes:
        request: what it continues, and how.
        ids: the prompt and the new tokens, without the stop token.
        draws: uniform in [0, 1), (max_new_tokens,); on the CPU, so that a seed gives the same on every device.
        steps: number of tokens drawn so far.
        ended: whether it has been drawn to its end; set it to end the text earlier.
    """

    request: Request
    ids: list[int]
    draws: Tensor
    steps: int = 0
    ended: bool = False


def make_texts(model: TransformerLM, requests: Sequence[Request], max_new_tokens: int) -> list[Text]:
    """The texts that a `Batch` makes of requests. The errors are those of `generate_batch`."""
    size = model.config["vocab_size"]
    for r in requests:
        check_request(r.prompt_ids, size, max_new_tokens, r.temperature, r.top_p, r.top_k, r.seed)
    generators = [None if r.seed is None else torch.Generator().manual_seed(r.seed) for r in requests]
    draws = [torch.rand(max_new_tokens, generator=generator) for generator in generators]
    return [
        Text(r, list(r.prompt_ids), draw, ended=max_new_tokens == 0) for r, draw in zip(requests, draws, strict=True)
    ]


class Batch:
    """Texts that advance together. A text may join or leave between two steps; none depends on the others.

    Args:
        model, stop_token, vocab_size: as for `generate_batch`.

    Attributes:
        texts: those that continue.
    """

    def __init__(self, model: TransformerLM, stop_token: int | None, vocab_size: int | None):
        self.model, self.stop_token, self.vocab_size = model, stop_token, vocab_size
        self.texts: list[Text] = []
        # The rows of these belong to the first texts; those that have just joined have none yet.
        self._cache = BatchCache(model, 0)
        self._unread = torch.empty(0, dtype=torch.int64)  # newest tokens, (rows,)

    def add(self, texts: Sequence[Text]) -> None:
        """Let texts join; the model reads their prompts in the next step."""
        self.texts += texts
        self.remove_ended()

    @torch.inference_mode()
    def step(self) -> tuple[list[Text], list[int], Tensor]:
        """Draw the next token of each text.

        Returns:
            the texts, their tokens, and the logits (rows, vocab) that these were drawn from.

        Raises:
            MinlmError: the logits are not finite.
        """
        self.remove_ended()
        logits, texts = self._read()[:, : self.vocab_size], self.texts
        self._unread = draw_tokens(logits, *_settings(texts))
        drawn = self._unread.tolist()  # the only place that waits for the device
        if NO_TOKEN in drawn:
            raise MinlmError(what_is_spoiled(self.model))
        for text, token in zip(texts, drawn, strict=True):
            text.steps += 1
            if token != self.stop_token:
                text.ids.append(token)
            if token == self.stop_token or text.steps == len(text.draws):
                text.ended = True
        self.remove_ended()
        return texts, drawn, logits

    def remove_ended(self) -> None:
        """Let the texts leave that have ended."""
        rows = [row for row, text in enumerate(self.texts) if not text.ended]
        if len(rows) < len(self.texts):
            self.texts = [self.texts[row] for row in rows]
            known = torch.tensor([row for row in rows if row < len(self._unread)], dtype=torch.int64)
            if len(known) < len(self._unread):
                self._cache.keep(known)
                self._unread = self._unread[move(known, self._unread.device)]

    def _read(self) -> Tensor:
        """Read the newest tokens and the prompts of new texts; return the logits (rows, vocab) of what comes next."""
        logits, known = [], len(self._unread)
        new = self.texts[known:]
        if new:  # first: if it fails, nothing has changed for the others
            cache, first = _prefill(self.model, [text.ids[-self.model.config["context_length"] :] for text in new])
        if known:
            _make_room(self.model, self._cache, self.texts[:known])
            logits.append(self.model(self._unread.unsqueeze(1), self._cache)[:, -1])
            self._cache.lengths += 1
        if new:
            logits.append(first)
            if known:
                self._cache.append(cache)
            else:
                self._cache = cache
        return torch.cat(logits) if len(logits) > 1 else logits[0]


def _settings(texts: Sequence[Text]) -> list[Tensor]:
    """Temperatures, top_ps, top_ks and draws (rows,) for `draw_tokens`, on the CPU."""
    requests = [text.request for text in texts]
    return [
        torch.tensor([request.temperature for request in requests], dtype=torch.float32),
        torch.tensor([1.0 if request.top_p is None else request.top_p for request in requests], dtype=torch.float32),
        torch.tensor([2**62 if request.top_k is None else request.top_k for request in requests]),
        torch.stack([text.draws[text.steps] for text in texts]),
    ]


@torch.inference_mode()
def describe(tokens: Sequence[int], logits: Tensor, num_alternatives: int) -> list[StreamedToken]:
    """Each of the tokens, drawn from logits (rows, vocab), with its probability and alternatives."""
    probabilities = torch.softmax(logits.float(), dim=-1)
    best, ids = probabilities.topk(min(num_alternatives, probabilities.shape[-1]))
    chosen = probabilities.gather(-1, move(torch.tensor(tokens).unsqueeze(-1), logits.device)).squeeze(-1)
    rows = zip(tokens, chosen.tolist(), ids.tolist(), best.tolist(), strict=True)
    return [StreamedToken(token, chance, list(zip(*others, strict=True))) for token, chance, *others in rows]


def _prefill(model: TransformerLM, windows: list[list[int]]) -> tuple[BatchCache, Tensor]:
    """Read the windows; return the filled cache and the logits (rows, vocab) after the last token of each window.

    Windows are read one by one: padding them to one length would cost more than a batch saves. Equal windows are read
    once.
    """
    device = model.lm_head.weight.device
    cache = BatchCache(model, len(windows))
    states = torch.empty(len(windows), model.config["d_model"], device=device, dtype=model.lm_head.weight.dtype)
    rows_of: dict[tuple[int, ...], list[int]] = {}
    for row, window in enumerate(windows):
        rows_of.setdefault(tuple(window), []).append(row)
    for tokens, rows in rows_of.items():
        single = BatchCache(model, 1)
        last = model.hidden_states(move(torch.tensor([tokens]), device), single)[:, -1]
        single.lengths += len(tokens)
        states[move(torch.tensor(rows), device)] = last
        cache.replace(torch.tensor(rows), single)
    return cache, model.lm_head(states)


def _make_room(model: TransformerLM, cache: BatchCache, texts: Sequence[Text]) -> None:
    """Replace each full row of the cache by the last half of its text, without the newest token, which is read next."""
    full = torch.nonzero(cache.lengths == model.config["context_length"]).flatten()
    half = model.config["context_length"] // 2
    if len(full) == 0:
        return
    if half == 0:  # a context of one token has no room for a past
        cache.lengths[full] = 0
        return
    cache.replace(full, _prefill(model, [texts[row].ids[-half - 1 : -1] for row in full.tolist()])[0])
