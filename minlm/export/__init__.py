"""A trained model and its tokenizer in the formats of other libraries."""
