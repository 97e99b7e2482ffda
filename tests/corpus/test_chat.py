"""Collecting conversations: every bad line is named with its file and line, good ones are divided."""

import gzip
import json

import numpy as np
import pytest
from published import END

from minlm.bulk.encode_chat import encode_chat_file
from minlm.corpus.chat import collect_chat
from minlm.errors import MinlmError
from minlm.tokenization import BPETokenizer
from minlm.tokenization.chat import CHAT_TOKENS, encode_chat


def conversation(number: int) -> dict:
    return {
        "messages": [{"role": "user", "content": f"{number}?"}, {"role": "assistant", "content": f"é {number}\nend"}]
    }


@pytest.fixture
def chats(tmp_path):
    lines = [json.dumps(conversation(number)) for number in range(20)]
    (tmp_path / "a.jsonl").write_text("\n\n".join(lines[:10]) + "\n", encoding="utf-8")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(lines[10:]))
    return tmp_path


def test_some_are_held_out(chats):
    counts = collect_chat([f"{chats}/*.jsonl*"], [], chats / "out", valid_fraction=0.2)
    assert counts == {"train": 16, "valid": 4}
    read = {
        split: [json.loads(line) for line in (chats / f"out/{split}.jsonl").read_text(encoding="utf-8").splitlines()]
        for split in counts
    }
    assert sorted(c["messages"][0]["content"] for made in read.values() for c in made) == sorted(
        f"{number}?" for number in range(20)
    )
    assert all(c in map(conversation, range(20)) for made in read.values() for c in made)
    text = (chats / "out/valid.txt").read_text(encoding="utf-8")
    first = read["valid"][0]["messages"]
    assert text.startswith(f"{first[0]['content']}\n{first[1]['content']}\n{END}\n")
    assert text.count(END) == 4


def test_files_for_validation(chats):
    assert collect_chat([f"{chats}/a.jsonl"], [f"{chats}/b.jsonl.gz"], chats / "out") == {"train": 10, "valid": 10}


def test_every_bad_line_is_named(chats):
    good = json.dumps(conversation(1))
    bad = ['{"messages": [', '{"messages": []}', json.dumps({"messages": [{"role": "bot", "content": "x"}]})]
    (chats / "c.jsonl").write_text("\n".join([good, *bad]), encoding="utf-8")
    (chats / "d.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(MinlmError) as error:
        collect_chat([f"{chats}/[cd].jsonl*"], [], chats / "out")
    lines = str(error.value).splitlines()
    assert lines[0] == "4 lines cannot be used:"
    assert f"{chats}/c.jsonl, line 2: not JSON (" in lines[1]
    assert "line 3: it has no turn of the assistant" in lines[2]
    assert "line 4: message 1 has the role 'bot'; give one of system, user, assistant" in lines[3]
    assert "d.jsonl.gz is damaged or not compressed as its name says" in lines[4]
    assert not list((chats / "out").glob("*"))


def test_a_single_conversation(chats):
    (chats / "c.jsonl").write_text(json.dumps(conversation(1)), encoding="utf-8")
    with pytest.raises(MinlmError, match="single conversation"):
        collect_chat([f"{chats}/c.jsonl"], [], chats / "out")


def test_tokens_and_mask(chats):
    tokenizer = BPETokenizer({i: bytes([i]) for i in range(256)}, [], [END, *CHAT_TOKENS])
    collect_chat([f"{chats}/*.jsonl*"], [], chats / "out")
    tokens, learned = encode_chat_file(tokenizer, chats / "out/valid.jsonl", chats / "tokens")
    ids, mask = np.load(chats / "tokens/valid.npy"), np.load(chats / "tokens/valid.mask.npy")
    assert (ids.dtype, mask.dtype, len(ids), mask.sum()) == (np.uint16, np.uint8, tokens, learned)
    chat = json.loads((chats / "out/valid.jsonl").read_text(encoding="utf-8"))["messages"]
    expected_ids, expected_mask = encode_chat(tokenizer, chat)
    assert ids.tolist()[: len(expected_ids) + 1] == [*expected_ids, 256]
    assert mask.tolist()[: len(expected_mask) + 1] == [*expected_mask, 0]


def test_a_tokenizer_without_the_template(chats, trained):
    with pytest.raises(MinlmError, match="lacks special tokens"):
        encode_chat_file(trained, chats / "a.jsonl", chats)
