"""The model card: what it says about the text, the figures and how to make the model again."""

import importlib.metadata

import numpy as np
import yaml

from minlm.export.model_card import SOURCES, model_card
from minlm.pipeline.config import resolve
from minlm.pipeline.settings import load_schema
from minlm.pipeline.used import recipe
from minlm.transformer import TransformerLM


def test_the_recipe_in_a_card_is_the_configuration():
    model, info = TransformerLM(8, 8, 8, 1, 1, 8), {"iteration": 1, "training": {}}
    urls = {"train": ["http://a.b/c.csv", {"url": "http://a.b/`é`.txt", "sha256": "a" * 64}]}
    config = resolve({"corpus": {"source": "urls", "urls": urls, "license": "CC0."}}, load_schema())
    card = model_card(model, info, None, "urls", 0.0, recipe(config))
    again = yaml.safe_load(card.split("```yaml\n")[1].split("```\n")[0])
    assert recipe(resolve(again, load_schema())) == recipe(config)
    assert "ancients:\n  share: 0\n" in card  # and no settings of books, which are not used
    assert "CC0. minlm itself" in card
    assert f"With minlm {importlib.metadata.version('minlm')}" in card


def test_a_model_that_is_not_the_last_or_not_from_scratch_says_so():
    config = resolve({"training": {"keep_best": True, "use_checkpoint": "best"}}, load_schema())
    assert recipe(config)["training"].items() >= {"use_checkpoint": "best", "keep_best": True}.items()
    assert "keep_best" not in recipe(resolve({}, load_schema()))["training"]
    info = {"iteration": 1, "training": {"init_from": "results/base/model.pt"}}
    card = model_card(TransformerLM(8, 8, 8, 1, 1, 8), info, None, "chat")
    assert "Trained from the weights of `results/base/model.pt` on the conversations" in card
    assert "It answers as these conversations do." in card


def test_figures_of_several_seeds_have_their_noise():
    model, info = TransformerLM(8, 8, 8, 1, 1, 8), {"iteration": 1, "training": {}}
    runs = [{"nats_per_token": 1.0, "perplexity": 2.7, "bits_per_byte": figure} for figure in (1.2, 1.25, 1.24)]
    mean, deviation = np.mean([1.2, 1.25, 1.24]), np.std([1.2, 1.25, 1.24], ddof=1)
    card = model_card(model, info, runs[0], replicates=runs[1:])
    assert f"3 trainings that differ only in the seed reach {mean:.4f} ± {deviation:.4f} bits per byte" in card
    assert "differ only in the seed" not in model_card(model, info, runs[0])


def test_model_cards_of_other_texts():
    model, info = TransformerLM(8, 8, 8, 1, 1, 8), {"iteration": 1, "training": {}}
    cards = [
        model_card(model, info, None, source, share) for source in (None, "another", *SOURCES) for share in (0.0, 0.4)
    ]
    assert len(set(cards)) == 14
    assert sum("40% of the words from ancient works" in card for card in cards) == 7
    assert all("The validation loss is not stated." in card and "## Licenses" in card for card in cards)
