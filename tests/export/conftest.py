"""A finished model, in a folder and loaded."""

import pytest
from finished_model import write_finished_model

from minlm.generation.load import load_with_tokenizer


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with model.pt, vocab.json, merges.txt and evaluation.json."""
    folder = tmp_path_factory.mktemp("finished")
    write_finished_model(folder)
    return folder


@pytest.fixture(scope="session")
def ours(trained):
    model, tokenizer, _ = load_with_tokenizer(trained / "model.pt", trained / "vocab.json", trained / "merges.txt")
    return model, tokenizer
