"""The inner loops of the tokenizer, compiled by numba.

`compiler` has the decorator and two machine instructions; `scan` finds the words of a text; `word_table` is the hash
table of words that `counting` and `encoding` fill; `merging` learns the merges. Text is bytes here, an array of uint8.
"""
