"""Text from a finished model: many prompts in a batch, a stream of tokens, and the file of samples."""
