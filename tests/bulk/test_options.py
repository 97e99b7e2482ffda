"""The flags that programs for texts share, and what they do at the command line."""

import argparse

import numpy as np
import pytest
from published import END

from minlm.bulk.options import Options
from minlm.fast.tokenization.word_counts import WordCounts
from minlm.scripts import count_words, tokenize, train_tokenizer
from minlm.scripts.text_options import add_text_options, text_options


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    add_text_options(parser)
    return parser


def test_without_flags_they_are_the_defaults(parser):
    assert text_options(parser.parse_args([])) == Options()


def test_values(parser, monkeypatch):
    monkeypatch.setattr("minlm.cores.available_cores", lambda: 4)
    flags = ["--threads", "3", "--shard", "2/4", "--invalid_utf8", "keep", "--backend", "python"]
    assert text_options(parser.parse_args(flags)) == Options(
        threads=3, shard=(2, 4), backend="python", keep_invalid=True
    )
    assert text_options(parser.parse_args(["--threads", "64"])) == Options(threads=4)


@pytest.mark.parametrize("value", ["0/4", "5/4", "1", "1/", "/4", "a/b", "-1/4", "1/0", "1/4/4", "1.0/4", ""])
def test_bad_shards(parser, value, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args([f"--shard={value}"])
    assert f"{value!r} is not a part such as 1/4, the first of four" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--backend", "rust"], ["--invalid_utf8", "replace"], ["--threads", "two"]])
def test_bad_values(parser, flags, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args(flags)
    assert f"argument {flags[0]}: invalid" in capsys.readouterr().err


def test_a_tokenizer_is_not_trained_on_a_shard():
    with pytest.raises(SystemExit):
        train_tokenizer.build_parser().parse_args(["a.txt", "--shard", "1/2"])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def count(path, output, *flags):
    count_words.main(["--inputs", str(path), "--output", output, *flags])
    return WordCounts.load(output)


def test_shards_at_the_command_line(folder, bible_file, trained, trained_files, bible, capsys):
    files = ["--vocab_path", str(trained_files[0]), "--merges_path", str(trained_files[1]), "--output_dir", "."]
    for shard in ("1/2", "2/2"):
        count(bible_file, f"{shard[0]}.npz", "--shard", shard)
        tokenize.main(["--inputs", str(bible_file), *files, "--shard", shard, "--threads", "1"])
    assert "tokenize: train.2-of-2.npy: " in capsys.readouterr().err
    ids = [np.load(f"train.{shard}-of-2.npy") for shard in (1, 2)]
    assert all(len(part) > 10_000 for part in ids)
    assert np.concatenate(ids).tolist() == trained.encode(bible)
    count_words.main(["--inputs", "1.npz", "2.npz", "--output", "both.npz"])
    count(bible_file, "whole.npz")
    assert (folder / "both.npz").read_bytes() == (folder / "whole.npz").read_bytes()


def test_backends_and_threads_at_the_command_line(folder, bible_file):
    for name, flags in (("a", []), ("b", ["--threads", "2"]), ("c", ["--backend", "python"])):
        count(bible_file, f"{name}.npz", *flags)
    assert (folder / "a.npz").read_bytes() == (folder / "b.npz").read_bytes() == (folder / "c.npz").read_bytes()


def test_bytes_that_are_not_utf8(folder, capsys):
    (folder / "a.txt").write_bytes(b"caf\xe9 au lait")
    with pytest.raises(SystemExit):
        count("a.txt", "a.npz", "--invalid_utf8", "error")
    assert "a.txt is not UTF-8: byte 0xe9 at offset 3" in capsys.readouterr().err
    assert count("a.txt", "a.npz", "--invalid_utf8", "keep") == {
        b"caf": 1,
        b"\xe9": 1,
        b" au": 1,
        b" lait": 1,
    }
    train_tokenizer.main(["a.txt", "--vocab_size", "258", "--invalid_utf8", "keep"])
    files = ["--vocab_path", "a_vocab.json", "--merges_path", "a_merges.txt", "--output_dir", "."]
    tokenize.main(["--inputs", "a.txt", *files, "--invalid_utf8", "keep"])
    assert np.load("a.npy").tolist()[3] == 0xE9


def test_no_threads(folder, capsys):
    (folder / "a.txt").write_text(f"x{END}", "utf-8")
    with pytest.raises(SystemExit) as exit_:
        count("a.txt", "a.npz", "--threads", "0")
    assert exit_.value.code == 1
    assert "threads must be 1 or more, not 0" in capsys.readouterr().err
    assert not (folder / "a.npz").exists()
