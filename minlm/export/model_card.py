"""The model card, README.md of an exported model: its text and licenses, quality, limits, and how to make it again."""

import importlib.metadata
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined, Template

from minlm.transformer.model import TransformerLM

FIGURES = ("nats_per_token", "perplexity", "bits_per_byte")  # of an evaluation that the card states
# For each corpus.source of the configuration, its text and the license of that.
SOURCES = {
    "sample": ("the Bible in Basic English", "The Bible in Basic English is in the public domain."),
    "tinystories": (
        "[TinyStories](https://huggingface.co/datasets/roneneldan/TinyStories) (V2, stories written by GPT-4)",
        "TinyStories is under the Community Data License Agreement, CDLA-Sharing-1.0.",
    ),
    "files": ("the text files of whoever trained it", "Ask whoever trained it about the license of these files."),
    "chat": (
        "the conversations of whoever trained it",
        "Ask whoever trained it about the license of these conversations.",
    ),
    "urls": (
        "files from the web",
        "The license of these files is that of their sources.",
    ),
}
NO_LICENSE = "The license of the text is not stated."


def model_card(
    model: TransformerLM,
    info: dict[str, Any],
    evaluation: dict[str, Any] | None = None,
    corpus_source: str | None = None,
    ancients_share: float = 0.0,
    recipe: dict[str, Any] | None = None,
    replicates: Sequence[dict[str, Any]] = (),
) -> str:
    """The card as Markdown.

    Args:
        model: the exported model; the card states its shape.
        info: its iteration and training settings, see `checkpoint.load_model`.
        evaluation: its `FIGURES` on the validation text; None if there are none.
        corpus_source: as in the configuration; None if it is unknown.
        ancients_share: fraction of the words that come from ancient books.
        recipe: the configuration that makes the model again, see `used.recipe`; None if it is unknown. Its
            `corpus.license` is stated.
        replicates: evaluations of models that differ from this one in nothing but the seed.
    """
    template = (Path(__file__).parent / "model_card.md").read_text(encoding="utf-8")
    unknown = f"the corpus `{corpus_source}`" if corpus_source else "a text that is not stated"
    text, license = SOURCES.get(corpus_source or "", (unknown, NO_LICENSE))
    figures = [run["bits_per_byte"] for run in (*([evaluation] if evaluation else []), *replicates)]
    shape = {name: value for name, value in model.config.items() if value is not False}  # without unused ablations
    # No autoescape: Markdown needs none.
    return Template(template, trim_blocks=True, undefined=StrictUndefined, keep_trailing_newline=True).render(
        text=text,
        start=info["training"].get("init_from"),
        is_chat=corpus_source == "chat",
        license=(recipe or {}).get("corpus", {}).get("license") or license,
        ancients_share=ancients_share,
        evaluation=evaluation,
        seeds=len(figures),
        mean=statistics.mean(figures) if figures else None,
        noise=statistics.stdev(figures) if len(figures) > 1 else None,
        recipe=yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=110) if recipe else None,
        version=importlib.metadata.version("minlm"),
        context_length=model.config["context_length"],
        tables={
            "Shape": {"parameters": f"{model.num_parameters():,}", **shape},
            "Training": {"steps": f"{info['iteration']:,}", **info["training"]},
        },
    )
