"""Export in the layout of the Hugging Face Hub: a folder with weights, configuration, tokenizer and model card."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save

from minlm.atomic import atomic_folder
from minlm.documents import SEPARATOR
from minlm.export.llama import llama_config, llama_weights
from minlm.export.tokenizer_json import tokenizer_json
from minlm.generation.samples_file import end_of_text
from minlm.tokenization import BPETokenizer
from minlm.tokenization.chat import END_OF_TURN, TEMPLATE, has_chat_tokens
from minlm.transformer.model import TransformerLM

FILES = (
    "model.safetensors", "config.json", "generation_config.json",
    "tokenizer.json", "tokenizer_config.json", "README.md",
)  # fmt: skip


def export(folder: str | Path, model: TransformerLM, tokenizer: BPETokenizer, card: str) -> None:
    """Write `FILES` into a folder, all or nothing, and replace an earlier export there.

    The model and the tokenizer are those of `load.load_with_tokenizer`, the card is that of `model_card.model_card`.
    `AutoModelForCausalLM.from_pretrained(folder)` loads the folder, and `AutoTokenizer` likewise.

    Raises:
        MinlmError: Llama cannot express the model, or the folder cannot be written.
    """
    end = end_of_text(tokenizer)
    ids: dict[str, Any] = {"bos_token_id": end, "eos_token_id": end}
    of_chat = {}
    if has_chat_tokens(tokenizer):
        of_chat, ids["eos_token_id"] = {"chat_template": TEMPLATE}, [end, *tokenizer.encode(END_OF_TURN)]
    foreign = sorted(set(range(model.config["vocab_size"])) - set(tokenizer.vocab))
    longest = max(1, model.config["context_length"] // 2)  # leaves room for a prompt
    config = {
        **llama_config(model), **ids,
        # Without this, the pipeline of version 4.57 generates up to 256 tokens.
        "task_specific_params": {"text-generation": {"max_new_tokens": longest}},
    }  # fmt: skip
    generation = {
        **ids, "pad_token_id": end, "do_sample": True, "temperature": 0.7, "top_p": 0.9, "max_new_tokens": longest,
        **({"suppress_tokens": foreign} if foreign else {}),  # ids that the tokenizer lacks
    }  # fmt: skip
    # Without its class, version 5 of transformers would load the tokenizer as a LlamaTokenizer.
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SEPARATOR,
        "eos_token": SEPARATOR,
        "pad_token": SEPARATOR,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": model.config["context_length"],
        "model_input_names": ["input_ids", "attention_mask"],  # version 4 adds token_type_ids, which Llama refuses
        "padding_side": "left",  # a text continues at its right end
        **of_chat,
    }
    contents = {
        "config.json": config,
        "generation_config.json": generation,
        "tokenizer.json": tokenizer_json(tokenizer),
        "tokenizer_config.json": tokenizer_config,
    }
    weights = save(llama_weights(model), metadata={"format": "pt"})
    with atomic_folder(folder, FILES) as temporary:
        (temporary / "model.safetensors").write_bytes(weights)
        for name, content in contents.items():
            text = json.dumps(content, ensure_ascii=False, indent=1)
            (temporary / name).write_text(f"{text}\n", encoding="utf-8")
        (temporary / "README.md").write_text(card, encoding="utf-8")
