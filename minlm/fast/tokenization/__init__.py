"""The compiled form of `minlm.tokenization`: `WordCounter`, `learn_merges` and `Encoder`, with the same results.

`compiled` has all three. Importing this package does not import numba; importing `compiled` does.
"""
