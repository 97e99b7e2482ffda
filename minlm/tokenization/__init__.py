"""Text to tokens and back: byte-level byte-pair encoding (BPE).

The story in order: `pretokenize` cuts text into words, `word_counts` counts them, `train` merges frequent pairs,
`files` keeps the result, `bpe` encodes and decodes with it, `encode_file` turns a corpus into a `.npy` of ids.
"""

from minlm.tokenization.bpe import BPETokenizer

__all__ = ["BPETokenizer"]
