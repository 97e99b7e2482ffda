"""Whole files on many cores: counting words, training on counts, encoding to `.npy`, shards."""
