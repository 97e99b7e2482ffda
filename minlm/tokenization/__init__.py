"""Text to tokens and back: byte-level byte-pair encoding (BPE).

The story in order: `pretokenize` cuts text into words, `counting` counts them, `train` merges frequent pairs, `files`
keeps the result, `bpe` encodes and decodes with it, `encode_file` turns a corpus into a `.npy` of ids. The work itself
is in `plain`, in plain Python, and again in `fast` with the compiled `kernels`; `backends` says which is used when.
"""

from minlm.tokenization.bpe import BPETokenizer

__all__ = ["BPETokenizer"]
