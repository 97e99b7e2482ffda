"""One model for the texts of many threads: all of them advance in one batch."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from minlm.errors import MinlmError
from minlm.generation.batched import Batch, Request, StreamedToken, Text, describe, make_texts
from minlm.transformer.devices import move
from minlm.transformer.model import TransformerLM

NUM_ALTERNATIVES = 5


class SharedModel:
    """A model that threads may use at the same time.

    A thread that waits for a token runs the model, if no other does. That draws a token for each text of the batch; the
    other threads find theirs when they ask. So the model runs only while somebody waits.

    Args:
        model, stop_token, vocab_size: as for `generate_batch`.
    """

    def __init__(self, model: TransformerLM, stop_token: int, vocab_size: int):
        self.model = model
        self._batch = Batch(model, stop_token, vocab_size)
        self._joining: list[Text] = []
        self._drawn: dict[Text, list[StreamedToken]] = {}  # not fetched yet
        self._changed = threading.Condition()  # whoever has it may change all of this
        self._busy = False  # a thread runs the model; only that one changes the batch

    @property
    def stop_token(self) -> int | None:
        """The token that ends a text."""
        return self._batch.stop_token

    @contextmanager
    def texts(self, requests: Sequence[Request], max_new_tokens: int) -> Iterator["SharedTexts"]:
        """Texts in the batch, until the end of the block. The errors are those of `generate_batch`."""
        texts = make_texts(self.model, requests, max_new_tokens)
        with self._changed:
            self._joining += texts
            self._drawn |= {text: [] for text in texts}
        try:
            yield SharedTexts(self, texts)
        finally:
            self.end(texts)

    def end(self, texts: Sequence[Text]) -> None:
        """End texts here."""
        with self._changed:
            for text in texts:
                text.ended = True
                self._drawn.pop(text, None)
            self._joining = [text for text in self._joining if not text.ended]
            if not self._busy:
                self._batch.remove_ended()

    def fetch(self, texts: Sequence[Text]) -> list[tuple[int, StreamedToken]]:
        """Wait for tokens of these texts; return them with the texts' numbers, or nothing if all texts have ended."""
        while True:
            with self._changed:
                fetched = [(number, token) for number, text in enumerate(texts) for token in self._drawn.get(text, [])]
                if fetched:
                    self._drawn |= {text: [] for text in texts if text in self._drawn}
                    return fetched
                if self._busy:
                    self._changed.wait()
                    continue
                if all(text.ended for text in texts):
                    return []
                self._busy = True
            with self._running():
                self._step()

    @torch.inference_mode()
    def score(self, ids: Sequence[int]) -> list[StreamedToken]:
        """Each token of a text except the first, with its probability and alternatives given those before it.

        Raises:
            MinlmError: the text is longer than the context.
        """
        if len(ids) > (context_length := self.model.config["context_length"]):
            raise MinlmError(
                f"the prompt has {len(ids):,} tokens, but the model sees only {context_length:,} at once, so it has no "
                "probabilities for them; shorten it."
            )
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)
            self._busy = True
        with self._running():
            logits = self.model(move(torch.tensor([ids]), self.model.lm_head.weight.device))[0, :-1]
            return describe(ids[1:], logits[:, : self._batch.vocab_size], NUM_ALTERNATIVES)

    @contextmanager
    def _running(self) -> Iterator[None]:
        """After the thread has set `_busy`."""
        try:
            yield
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _step(self) -> None:
        with self._changed:
            joining, self._joining = self._joining, []
            self._batch.add(joining)
        try:
            texts, drawn, logits = self._batch.step()
        except Exception:
            self.end(joining)  # a prompt may have been too much for the memory
            raise
        described = describe(drawn, logits, NUM_ALTERNATIVES)
        with self._changed:
            for text, token in zip(texts, described, strict=True):
                if text in self._drawn:
                    self._drawn[text].append(token)


class SharedTexts:
    """Texts in the batch of a `SharedModel`. Iterating yields each new token with the number of its text.

    Also the stop token, if one is drawn.
    """

    def __init__(self, shared: SharedModel, texts: list[Text]):
        self._shared, self._texts = shared, texts

    def __iter__(self) -> Iterator[tuple[int, StreamedToken]]:
        while fetched := self._shared.fetch(self._texts):
            yield from fetched

    def end(self, number: int) -> None:
        """End one of the texts here; tokens of it that have been fetched already may still come."""
        self._shared.end([self._texts[number]])
