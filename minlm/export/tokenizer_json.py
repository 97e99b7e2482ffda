"""tokenizer.json, the file format of the `tokenizers` library: vocabulary, merges and pre-tokenization in one file.

It is plain JSON, so writing it does not need that library.
"""

import json
from pathlib import Path
from typing import Any

from minlm.atomic import atomic_write
from minlm.tokenization import BPETokenizer
from minlm.tokenization.patterns import PATTERNS
from minlm.tokenization.vocabulary_files import spell


def write_tokenizer_json(tokenizer: BPETokenizer, path: str | Path) -> None:
    """Write a file from which `tokenizers.Tokenizer.from_file` makes a tokenizer with the same ids for any text."""
    with atomic_write(path) as file:
        json.dump(tokenizer_json(tokenizer), file, ensure_ascii=False, indent=1)
        file.write("\n")


def tokenizer_json(tokenizer: BPETokenizer) -> dict[str, Any]:
    """The contents of tokenizer.json: special tokens as they are, all others in GPT-2's spelling."""
    special_ids = {tokenizer.encode(token)[0]: token for token in tokenizer.special_tokens}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    pretokenizer: dict[str, Any] = byte_level  # uses GPT-2's pattern
    if tokenizer.pattern != "gpt2":
        regex = {"Regex": PATTERNS.get(tokenizer.pattern, tokenizer.pattern)}
        split = {"type": "Split", "pattern": regex, "behavior": "Isolated", "invert": False}
        pretokenizer = {"type": "Sequence", "pretokenizers": [split, {**byte_level, "use_regex": False}]}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": index, "content": special_ids[index], "special": True,
                "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            }
            for index in sorted(special_ids)
        ],
        "normalizer": None,
        "pre_tokenizer": pretokenizer,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {special_ids.get(i) or spell(tokenizer.vocab[i]): i for i in sorted(tokenizer.vocab)},
            "merges": [[spell(first), spell(second)] for first, second in tokenizer.merges],
        },
    }  # fmt: skip
