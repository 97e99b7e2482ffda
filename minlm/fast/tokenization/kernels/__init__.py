"""The inner loops of the tokenizer, compiled by numba.

`compiler` has the decorator, `cache` finds the folder for compiled kernels, and `instructions` has what numba lacks.
`scan` finds the words of a text with `bit_masks`; `word_table` is the hash table that `counting` and `encoding` fill;
`word_merging` encodes one word; `merging` learns the merges. Text is an array of uint8 here.
"""
