"""A corpus of conversations: JSON lines in, training and validation conversations out."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import zstandard

from minlm.atomic import atomic_write
from minlm.corpus.local_files import find_files, hold_out, listed, open_compressed
from minlm.documents import iter_lines, write_document
from minlm.errors import MinlmError
from minlm.reading import UNREADABLE
from minlm.tokenization.chat import Message, parse_messages


def collect_chat(
    train: Sequence[str], valid: Sequence[str], output_folder: str | Path, valid_fraction: float = 0.05, seed: int = 0
) -> dict[str, int]:
    """Check conversations and write them to train.jsonl and valid.jsonl, and their contents as text to two .txt.

    Args:
        train: names or globs of .jsonl files, plain or as .gz or .zst, a conversation in each line; see
            `parse_messages`.
        valid: the same for validation. If empty, conversations of `train` are held out instead.
        output_folder: where the four files go. The texts are for a tokenizer, and for people.
        valid_fraction: fraction of the conversations to hold out, at even intervals, and at least one.
        seed: another seed holds out other conversations.

    Returns:
        The number of conversations in each file: `{"train": …, "valid": …}`.

    Raises:
        MinlmError: a line is not a conversation (the error lists file, line and problem of each), a pattern matches no
            file, or there is only one conversation.
    """
    counts, problems = {"train": 0, "valid": 0}, list[str]()
    with ExitStack() as stack:
        outputs = {
            split: [
                stack.enter_context(atomic_write(Path(output_folder, split + suffix))) for suffix in (".jsonl", ".txt")
            ]
            for split in counts
        }

        def write(split: str, messages: list[Message]) -> None:
            lines, text = outputs[split]
            lines.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
            write_document(text, "\n".join(message["content"] for message in messages))
            counts[split] += 1

        conversations = _read(find_files(train), problems)
        for messages, held_out in hold_out(conversations, 0.0 if valid else valid_fraction, seed):
            write("valid" if held_out else "train", messages)
        for messages in _read(find_files(valid), problems):
            write("valid", messages)
        if problems:
            raise MinlmError(listed(problems, "lines"))
        if 0 in counts.values():
            raise MinlmError(f"{train[0]} has a single conversation, so none can be held out for validation: add more")
    return counts


def _read(paths: Sequence[Path], problems: list[str]) -> Iterator[list[Message]]:
    """Yield all conversations; add what is wrong to `problems`."""
    for path in paths:
        try:
            with open_compressed(path) as file:
                for number, line in enumerate(iter_lines(file, path), start=1):
                    if line.strip():
                        try:
                            yield parse_messages(json.loads(line))
                        except UNREADABLE as error:
                            problems.append(f"{path}, line {number}: {_explain(error)}")
        except MinlmError as error:
            problems.append(str(error))
        except (*UNREADABLE, zstandard.ZstdError, OSError) as error:
            problems.append(f"{path} is damaged or not compressed as its name says: {error}")


def _explain(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON ({error}); write one conversation in each line"
    return str(error)
