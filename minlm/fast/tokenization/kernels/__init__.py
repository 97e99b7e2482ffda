"""The inner loops of the tokenizer, compiled by numba.

`compiler` has the decorator and the machine instructions that numba lacks; `cache` is where compiled kernels are kept;
`scan` finds the words of a text with `bit_masks`; `word_table` is the hash table that `counting` and `encoding` fill;
`word_merging` merges one word; `merging` learns the merges. Text is an array of uint8 here.
"""
