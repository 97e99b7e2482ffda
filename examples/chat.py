"""Teach a small model to answer questions: "What comes after '…'?" and the verse that does. docs/chat.md explains it.

python examples/chat.py             # everything, in a few minutes, with what it gets right before and after
python examples/chat.py --write     # only the conversations, chats/train.jsonl and chats/valid.jsonl
"""

import argparse
import itertools
import json
import subprocess
from pathlib import Path

import torch

from minlm.corpus.bible import sample_chapters
from minlm.generation.batched import Request, generate_batch
from minlm.generation.load import load_with_tokenizer
from minlm.tokenization.chat import END_OF_TURN, encode_prompt

WORDINGS = ("What comes after '{}'?", "'{}' What is next?", "Which verse follows '{}'?", "Go on after '{}'")
NUM_VERSES, LONGEST = 120, 60  # characters
CONFIG = "workflow/presets/chat.yaml"
RESULTS = Path("results/chat")


def write_conversations(folder: Path) -> None:
    """Short verses that follow each other. Each is asked for in four wordings, of which one is held out."""
    folder.mkdir(exist_ok=True)
    chapters = [chapter.splitlines() for chapter in sample_chapters()]
    pairs = [(a, b) for verses in chapters for a, b in itertools.pairwise(verses) if a and b]
    short = list({a: b for a, b in pairs if max(len(a), len(b)) <= LONGEST}.items())[:NUM_VERSES]  # each verse once
    with open(folder / "train.jsonl", "w") as train, open(folder / "valid.jsonl", "w") as valid:
        for number, (verse, following) in enumerate(short):
            for index, wording in enumerate(WORDINGS):
                messages = [
                    {"role": "user", "content": wording.format(verse)},
                    {"role": "assistant", "content": following},
                ]
                file = valid if index == number % len(WORDINGS) else train
                file.write(json.dumps({"messages": messages}) + "\n")


def count_right(model_path: Path, tokenizer_folder: Path, questions: Path) -> str:
    """How many questions the model answers word for word."""
    files = tokenizer_folder / "vocab.json", tokenizer_folder / "merges.txt"
    model, tokenizer, _ = load_with_tokenizer(model_path, *files)
    chats = [json.loads(line)["messages"] for line in questions.read_text().splitlines()]
    requests = [Request(encode_prompt(tokenizer, chat[:1]), temperature=0) for chat in chats]
    end = tokenizer.encode(END_OF_TURN)[0]
    right = 0
    for first in range(0, len(chats), 16):
        batch = requests[first : first + 16]
        for request, chat, ids in zip(batch, chats[first:], generate_batch(model, batch, 60, end), strict=False):
            right += tokenizer.decode(ids[len(request.prompt_ids) :].tolist()) == chat[1]["content"]
    return f"{right} of {len(chats)}"


def main() -> None:
    """Everything, or only the conversations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="only write the conversations")
    parser.add_argument("--cores", default="all")
    arguments = parser.parse_args()
    write_conversations(Path("chats"))
    if arguments.write:
        return
    before, after = RESULTS / "model.pt", RESULTS / "experiments/chat/model.pt"
    subprocess.run(
        ["snakemake", "--cores", arguments.cores, "--configfile", CONFIG, "--", str(before), str(after)], check=True
    )
    torch.set_num_threads(2)
    for name, model in (("before", before), ("after", after)):
        for split in ("train", "valid"):
            kind = "questions that it has seen" if split == "train" else "held-out questions"
            right = count_right(model, Path("data/tokenizer"), Path(f"chats/{split}.jsonl"))
            print(f"{name}: {right} {kind} right")


if __name__ == "__main__":
    main()
