"""minlm: from raw text to a small language model that writes, trained by you."""
