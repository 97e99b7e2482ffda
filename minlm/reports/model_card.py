"""README.md of an exported model: what it is, how it was made, what the licenses are."""

from typing import Any

from minlm.transformer.model import TransformerLM

# Where the text came from (the configuration's corpus.source), and its license.
SOURCES = {
    "sample": ("the Bible in Basic English", "The Bible in Basic English is in the public domain."),
    "tinystories": (
        "[TinyStories](https://huggingface.co/datasets/roneneldan/TinyStories) (V2, stories written by GPT-4)",
        "TinyStories is under the Community Data License Agreement, CDLA-Sharing-1.0.",
    ),
    "files": ("text files of the person who trained it", "What the licenses of these files allow, that person knows."),
}
ANCIENTS = (
    "The ancient works come from Project Gutenberg. They are in the public domain in the USA; elsewhere a translation "
    "may not be."
)
USE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("this/folder")
model = AutoModelForCausalLM.from_pretrained("this/folder")
ids = tokenizer("<|endoftext|>", return_tensors="pt")  # the beginning of a document; or a text to continue
print(tokenizer.decode(model.generate(**ids)[0]))
```"""


def model_card(
    model: TransformerLM,
    info: dict[str, Any],
    evaluation: dict[str, Any] | None = None,
    corpus_source: str | None = None,
    ancients_share: float = 0.0,
) -> str:
    """The text of the card.

    Args:
        model: with its shape.
        info: iteration and training settings, see `checkpoint.load_model`.
        evaluation: with nats_per_token, perplexity and bits_per_byte on the validation text.
        corpus_source: one of `SOURCES`.
        ancients_share: fraction of the words that came from ancient books.
    """
    data, license_note = (
        SOURCES[corpus_source] if corpus_source else ("not stated", "The text's license is not stated.")
    )
    if ancients_share > 0:
        data, license_note = (
            f"{data}; {ancients_share:.0%} of the words from ancient works",
            f"{license_note} {ANCIENTS}",
        )
    result = "The validation loss is not stated."
    if evaluation is not None:
        result = (
            f"On held-out text: {evaluation['nats_per_token']:.4f} nats per token (perplexity "
            f"{evaluation['perplexity']:.2f}), {evaluation['bits_per_byte']:.4f} bits per byte."
        )
    switched_on = {name: value for name, value in model.config.items() if value is not False}
    shape = {"parameters": f"{model.num_parameters():,}", **switched_on}
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            "pipeline_tag: text-generation",
            "tags: [llama, minlm]",
            "---",
            "",
            "# A small language model, made with minlm",
            "",
            f"Trained from scratch on {data}." if corpus_source else f"Trained from scratch. Its text is {data}.",
            result,
            f"It knows this text and nothing else, and sees {model.config['context_length']} tokens at once.",
            "",
            USE,
            "",
            *_table("Shape", shape),
            *_table("Training", {"steps": f"{info['iteration']:,}", **info["training"]}),
            "## Licenses",
            "",
            f"{license_note} minlm itself, the program, is under the MIT license.",
            "",
        ]
    )


def _table(title: str, rows: dict[str, Any]) -> list[str]:
    return [f"## {title}", "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items()), ""]
