"""Snakemake's between-workflow cache: a checkout takes over what another with the same code and input has computed."""

import os

import pytest

TOKENS = ("data/tokens/train.npy", "data/tokens/valid.npy")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_two_checkouts_share_while_code_settings_and_texts_are_the_same(cache, new_checkout):
    first, second = new_checkout(code=True), new_checkout(code=True)
    first.run(*TOKENS, "--cache")
    (of_this_code,) = cache.iterdir()
    kept = set(os.listdir(of_this_code))
    assert len(kept) == 5  # counts, vocab.json, merges.txt, and tokens of both texts

    second.run(*TOKENS, "--cache")
    assert set(os.listdir(of_this_code)) == kept
    for path in (*TOKENS, "data/tokenizer/vocab.json"):
        assert (second.folder / path).resolve().parent == of_this_code
        assert (second.folder / path).read_bytes() == (first.folder / path).read_bytes()
    assert (first.folder / TOKENS[0]).read_bytes() != (first.folder / TOKENS[1]).read_bytes()

    # in the first checkout, whose kernels are compiled
    first.run("data/tokenizer/vocab.json", "--cache", "--config", "tokenizer={vocab_size: 290}")
    assert len(list(of_this_code.iterdir())) == 5 + 2  # one more vocabulary
    with open(first.folder / "texts/train.txt", "a") as file:
        file.write("<|endoftext|>\nA new one.\n")
    first.run("data/tokenizer/vocab.json", "--cache")
    assert len(list(of_this_code.iterdir())) == 5 + 2 + 3  # one more vocabulary, and counts

    with open(second.folder / "minlm/tokenization/train.py", "a") as file:
        file.write("# another way to train\n")
    second.run("--dry-run", TOKENS[0], "--cache")
    (of_other_code,) = set(cache.iterdir()) - {of_this_code}
    assert list(of_other_code.iterdir()) == []  # results of the old code are not found
