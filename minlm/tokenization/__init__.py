"""The tokenizer: text to ids and back, by byte-level byte-pair encoding (BPE), in plain Python.

In reading order: `pretokenize` cuts text into words, `word_counter` counts them, `train` merges frequent pairs of
`linked_tokens`, `encode` merges the same pairs in new text, and `bpe` is the tokenizer with its `vocabulary_files`.
`backend` is the door to the compiled code of `minlm.fast.tokenization`, which runs by default.
"""

from minlm.tokenization.bpe import BPETokenizer

__all__ = ["BPETokenizer"]
