"""One model for the texts of many threads: all of them advance in one batch."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from minlm.errors import MinlmError
from minlm.generation.batched import Batch, Request, StreamedToken, Text, describe
from minlm.transformer.devices import move
from minlm.transformer.model import TransformerLM

NUM_ALTERNATIVES = 5


class SharedModel:
    """A model that threads may use at the same time.

    The model runs in a thread of its own and only while somebody waits for a token. Each step draws a token for every
    text in the batch; those that nobody has asked for yet are kept.

    Args:
        model, stop_token, vocab_size: as for `generate_batch`.
    """

    def __init__(self, model: TransformerLM, stop_token: int, vocab_size: int):
        self.model = model
        self._batch = Batch(model, stop_token, vocab_size)
        self._drawn: dict[Text, deque[StreamedToken]] = {}  # not fetched yet
        self._thread = ThreadPoolExecutor(1)  # nothing else touches these three, nor runs the model

    @property
    def stop_token(self) -> int | None:
        """The token that ends a text."""
        return self._batch.stop_token

    @contextmanager
    def texts(self, requests: Sequence[Request], max_new_tokens: int) -> Iterator["SharedTexts"]:
        """Texts in the batch, until the end of the block. The errors are those of `generate_batch`."""
        texts = self._do(self._add, requests, max_new_tokens)
        try:
            yield SharedTexts(self, texts)
        finally:
            self._do(self._drop, texts)

    def score(self, ids: Sequence[int]) -> list[StreamedToken]:
        """Each token of a text except the first, with its probability and alternatives given those before it.

        Raises:
            MinlmError: the text is longer than the context.
        """
        return self._do(self._score, ids)

    def _do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return self._thread.submit(work, *arguments).result()

    def _add(self, requests: Sequence[Request], max_new_tokens: int) -> list[Text]:
        texts = self._batch.add(requests, max_new_tokens)
        self._drawn |= {text: deque() for text in texts}
        return texts

    def _drop(self, texts: Sequence[Text]) -> None:
        self._batch.drop(texts)
        for text in texts:
            self._drawn.pop(text, None)

    def _fetch(self, texts: Sequence[Text]) -> list[tuple[int, StreamedToken]]:
        """The tokens of these texts, with the texts' numbers, after a step if none is there; none if all have ended."""
        here = [self._drawn.get(text, deque()) for text in texts]
        if not any(here) and any(text in self._batch.texts for text in texts):
            stepped = self._batch.texts
            drawn, logits = self._batch.step()
            for text, token in zip(stepped, describe(drawn, logits, NUM_ALTERNATIVES), strict=True):
                self._drawn[text].append(token)
        return [(number, tokens.popleft()) for number, tokens in enumerate(here) for _ in range(len(tokens))]

    @torch.inference_mode()
    def _score(self, ids: Sequence[int]) -> list[StreamedToken]:
        if len(ids) > (context_length := self.model.config["context_length"]):
            raise MinlmError(
                f"the prompt has {len(ids):,} tokens, but the model sees only {context_length:,} at once, so it has no "
                "probabilities for them; shorten it."
            )
        logits = self.model(move(torch.tensor([ids]), self.model.lm_head.weight.device))[0, :-1]
        return describe(ids[1:], logits[:, : self._batch.vocab_size], NUM_ALTERNATIVES)


class SharedTexts:
    """Texts in the batch of a `SharedModel`. Iterating yields each new token with the number of its text.

    Also the stop token, if one is drawn.
    """

    def __init__(self, shared: SharedModel, texts: list[Text]):
        self._shared, self._texts = shared, texts

    def __iter__(self) -> Iterator[tuple[int, StreamedToken]]:
        while fetched := self._shared._do(self._shared._fetch, self._texts):
            yield from fetched

    def drop(self, number: int) -> None:
        """End one of the texts here; tokens of it that have been fetched already may still come."""
        self._shared._do(self._shared._drop, [self._texts[number]])
