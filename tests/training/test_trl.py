"""TRL's assistant-only loss on the same conversations: the same labels, and the same loss."""

import numpy as np
import pytest
import torch
from published import END
from transformers import AutoModelForCausalLM, AutoTokenizer

from minlm.export.huggingface import export
from minlm.tokenization import BPETokenizer
from minlm.tokenization.chat import CHAT_TOKENS, encode_chat
from minlm.training.conversations import Conversations
from minlm.training.evaluation import validation_loss
from minlm.transformer import TransformerLM

pytestmark = pytest.mark.slow


def test_labels_and_loss(bible_file, tmp_path):
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    tokenizer = BPETokenizer.train(bible_file, 400, [END, *CHAT_TOKENS])
    torch.manual_seed(0)
    model = TransformerLM(400, 64, 32, 1, 2, 48)
    export(tmp_path / "model", model, tokenizer, "a card")
    chats = [
        [{"role": "user", "content": "Who made it?"}, {"role": "assistant", "content": "God."}],
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "And the light?"},
            {"role": "assistant", "content": "He saw that it was good."},
            {"role": "user", "content": "Then?"},
            {"role": "assistant", "content": "Evening."},
        ],
    ]
    trainer = trl.SFTTrainer(
        AutoModelForCausalLM.from_pretrained(tmp_path / "model"),
        trl.SFTConfig(
            str(tmp_path / "out"), assistant_only_loss=True, report_to=[], use_cpu=True, max_length=64, bf16=False,
            per_device_train_batch_size=2,
        ),
        train_dataset=datasets.Dataset.from_list([{"messages": chat} for chat in chats]),
        processing_class=AutoTokenizer.from_pretrained(tmp_path / "model"),
    )  # fmt: skip
    tokens, mask = [], []
    for chat, row in zip(chats, trainer.train_dataset, strict=True):
        ids, assistant = encode_chat(tokenizer, chat)
        assert row["input_ids"][: len(ids)] == ids
        assert row["labels"][: len(ids)] == [i if learned else -100 for i, learned in zip(ids, assistant, strict=True)]
        assert set(row["labels"][len(ids) :]) <= {-100, tokenizer.encode(END)[0]}
        tokens, mask = [*tokens, *ids, tokenizer.encode(END)[0]], [*mask, *assistant, 0]
    batch = trainer.data_collator([trainer.train_dataset[0], trainer.train_dataset[1]])
    with torch.no_grad():
        theirs = trainer.compute_loss(trainer.model, batch).item()
    packed = Conversations(np.array(tokens), np.array(mask, dtype=np.uint8), 40, tokenizer.encode(END)[0])
    assert len(packed.bounds) == 2  # one conversation in each, as TRL has them
    assert validation_loss(model, packed, 40, 2) == pytest.approx(theirs, rel=1e-4)
