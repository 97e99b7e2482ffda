"""`WordCounter`, `learn_merges` and `Encoder`, compiled. The first import on a machine compiles all kernels."""

from minlm.fast.tokenization.encode import Encoder
from minlm.fast.tokenization.kernels.compiler import compile_all
from minlm.fast.tokenization.train import learn_merges
from minlm.fast.tokenization.word_counter import WordCounter

__all__ = ["Encoder", "WordCounter", "learn_merges"]


def _use_all_kernels() -> None:
    counter = WordCounter(["<|endoftext|>"])
    counter.add_text(b"the quick brown fox")
    counter.add_counts(counter.counts())
    counter._words.grow(0, 1)
    learn_merges(counter.counts(), 3, lambda merges: None)
    ids = {bytes([byte]): byte for byte in range(256)} | {b"he": 256, b"<|endoftext|>": 257}
    Encoder(ids, [(b"h", b"e")], ["<|endoftext|>"]).encode(b"the lazy dog")


compile_all(_use_all_kernels)
