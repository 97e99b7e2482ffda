"""Whole files on many cores: count words, train on counts, encode to `.npy`, shards."""
