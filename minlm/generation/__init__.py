"""Text from a finished model: batches of prompts, streams, the samples file."""
