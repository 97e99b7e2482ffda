"""Conversations and patterns through the workflow."""

import json

import numpy as np
import pytest
import yaml

from minlm.tokenization import BPETokenizer
from minlm.transformer.checkpoint import load_model

CHAT = """
corpus: {source: chat, chat: {train: [texts/chats.jsonl], valid_fraction: 0.1}}
tokenizer: {pattern: gpt4, special_tokens: ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]}
"""


@pytest.fixture(scope="module")
def checkout(new_checkout):
    made = new_checkout()
    messages = [{"role": "user", "content": "What sat?"}, {"role": "assistant", "content": "The cat."}]
    (made.folder / "texts/chats.jsonl").write_text(f"{json.dumps({'messages': messages})}\n" * 60)
    (made.folder / "chat.yaml").write_text(CHAT)
    return made


@pytest.mark.slow
def test_from_conversations_to_a_model(checkout):
    files = ("--configfile", "chat.yaml", "--")
    checkout.run("results/evaluation.json", "results/samples.txt", *files[:2])
    tokens, mask = (np.load(checkout.folder / f"data/tokens/train.{kind}") for kind in ("npy", "mask.npy"))
    assert len(tokens) == len(mask)
    assert 0 < mask.mean() < 1
    tokenizer = BPETokenizer.from_files(
        *(checkout.folder / f"data/tokenizer/{n}" for n in ("vocab.json", "merges.txt"))
    )
    assert tokenizer.pattern == "gpt4"
    assert tokenizer.decode(tokens[mask == 1][:20].tolist()).startswith("The cat.<|end|>")
    assert load_model(checkout.folder / "results/model.pt")[1]["tokenizer"] == tokenizer.fingerprint
    evaluation = json.loads((checkout.folder / "results/evaluation.json").read_text())
    assert evaluation["nats_per_token"] < 3  # one answer, learned by heart
    assert checkout.stale(*files[:2], target="results/samples.txt") == {}
    other = yaml.safe_dump({"valid_fraction": 0.2}, default_flow_style=True).strip()
    assert "collect_chat" in checkout.stale(
        *files[:2], "--config", f"corpus={{chat: {other}}}", target="results/model.pt"
    )


def test_the_jobs_of_conversations(checkout):
    jobs = checkout.stale("--configfile", "chat.yaml", target="results/evaluation.json")
    assert jobs == {
        "collect_chat": 1, "mix": 1, "count_words": 1, "train_tokenizer": 1, "tokenize_chat": 2, "fit_bigram": 1,
        "train": 1, "evaluate": 1,
    }  # fmt: skip


def test_a_variant_shares_what_its_pattern_allows(checkout):
    variants = "experiments={marks: {tokenizer.pattern: marks}, same: {tokenizer.pattern: gpt2}}"
    jobs = checkout.stale("--config", variants, target="results/comparison.html")
    assert (jobs["mix"], jobs["count_words"], jobs["train_tokenizer"], jobs["tokenize"]) == (1, 2, 2, 4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            "tokenizer={special_tokens: ['<|endoftext|>']}",
            "conversations need <|system|> <|user|> <|assistant|> <|end|>",
        ),
        ("tokenizer={shards: 2}", "conversations cannot be mixed or divided"),
        ("corpus={chat: {train: []}}", "corpus.chat.train: source is `chat`, but no files are named"),
    ],
)
def test_what_does_not_fit_is_said_at_once(checkout, values, message):
    assert message in checkout.run("-n", "--configfile", "chat.yaml", "--config", values, status=1)
