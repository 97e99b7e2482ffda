"""minlm: from nothing to text written by a language model you trained yourself."""
