"""Encoding conversations to two `.npy` files: the ids, and which of them the assistant wrote."""

import json
from pathlib import Path

import numpy as np

from minlm.atomic import atomic_write
from minlm.bulk.encode_files import choose_dtype
from minlm.documents import SEPARATOR
from minlm.progress import Progress
from minlm.reading import reading
from minlm.tokenization import BPETokenizer
from minlm.tokenization.chat import encode_chat, parse_messages, require_chat_tokens


def encode_chat_file(
    tokenizer: BPETokenizer, path: str | Path, output_dir: str | Path, output_dtype: str | None = None
) -> tuple[int, int]:
    """Encode a .jsonl file of conversations to {its name}.npy and {its name}.mask.npy (uint8, 1: the assistant's).

    Each conversation is followed by the id of `<|endoftext|>`, whose mask is 0.

    Returns:
        The number of tokens, and how many of them the assistant wrote.

    Raises:
        MinlmError: the file is missing, or a line is not a conversation; the tokenizer lacks a token of the template;
            the dtype is too small.
    """
    require_chat_tokens(tokenizer)
    dtype = choose_dtype(tokenizer, output_dtype)
    end = tokenizer.encode(SEPARATOR)
    all_ids, masks = [], []
    with (
        reading(path, "a file of conversations", "collect_chat writes one."),
        open(path, encoding="utf-8") as file,
        Progress(Path(path).stat().st_size, f"tokenizing {path}", "B") as progress,
    ):
        for line in file:
            ids, mask = encode_chat(tokenizer, parse_messages(json.loads(line)))
            all_ids.append(np.array(ids + end, dtype=dtype))
            masks.append(np.array([*mask, 0], dtype=np.uint8))
            progress.update(len(line.encode()))
        ids_of_file, mask_of_file = np.concatenate(all_ids), np.concatenate(masks)
    stem = Path(output_dir) / Path(path).stem
    with atomic_write(f"{stem}.npy", "wb") as ids_file, atomic_write(f"{stem}.mask.npy", "wb") as mask_file:
        np.save(ids_file, ids_of_file)
        np.save(mask_file, mask_of_file)
    return len(ids_of_file), int(mask_of_file.sum())
