"""Byte-pair encoding with compiled kernels."""
