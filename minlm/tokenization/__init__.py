"""The tokenizer: text to ids and back, by byte-level byte-pair encoding (BPE), in plain Python.

The algorithm is in four files, to be read in this order: `pretokenize` cuts text into words; `linked_tokens` holds a
word's tokens; `train` learns the merges; `encode` applies them to new text, and decodes.

The other files make it a product: `bpe` has the public class, `vocabulary` and `vocabulary_files` number, check, write
and read its tokens, `patterns` has other patterns, `word_counter` counts words, `segments` cuts streams, and `backend`
chooses between this folder and the compiled code of `minlm.fast.tokenization`.
"""

from minlm.tokenization.bpe import BPETokenizer

__all__ = ["BPETokenizer"]
