"""The compiled form of `minlm.tokenization`: `WordCounter`, `learn_merges` and `Encoder`, with the same results.

`compiled` has all three; nothing else here needs to be imported by name. Importing this package does not import numba.
"""
