import numpy as np
import pytest
from published import END

from minlm.scripts import count_words, tokenize, train_tokenizer
from minlm.tokenization import BPETokenizer


def fails(program, argv, capsys) -> str:
    """The one line that a program prints when it fails."""
    with pytest.raises(SystemExit) as exit_:
        program.main([str(argument) for argument in argv])
    assert exit_.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_from_text_to_tokens(bible, bible_file, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    count_words.main(["--inputs", str(bible_file), "--output", "data/word_counts.npz"])
    assert "count_words: data/word_counts.npz: " in capsys.readouterr().err

    train_tokenizer.main(["data/word_counts.npz", "--vocab_size", "1000", "--prefix", "", "--output_dir", "data"])
    assert "vocab.json and data/merges.txt: 1,000 tokens, 743 merges" in capsys.readouterr().err
    files = ["--vocab_path", "data/vocab.json", "--merges_path", "data/merges.txt"]
    assert BPETokenizer.from_files(files[1], files[3], [END]).fingerprint == trained.fingerprint

    tokenize.main(["--inputs", str(bible_file), *files])
    ids = np.load("tokenized_data/train.npy", mmap_mode="r")
    assert ids.tolist() == trained.encode(bible)
    assert f"tokenize: tokenized_data/train.npy: {len(ids):,} tokens (uint16) from 0.2 MB, " in capsys.readouterr().err


def test_train_tokenizer_on_text(bible_file, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_tokenizer.main([str(bible_file), "--vocab_size", "1000", "--profile"])
    assert BPETokenizer.from_files("train_vocab.json", "train_merges.txt", [END]).fingerprint == trained.fingerprint
    printed = capsys.readouterr().err
    for name in ("reading", "counting", "merging", "writing"):
        assert name in printed


def test_defaults_are_those_promised():
    arguments = train_tokenizer.build_parser().parse_args(["a.txt"])
    assert (arguments.vocab_size, arguments.output_dir, arguments.special_tokens) == (10_000, ".", [END])
    arguments = tokenize.build_parser().parse_args(["--inputs", "a", "b", "--vocab_path", "v", "--merges_path", "m"])
    assert (arguments.inputs, arguments.output_dir, arguments.output_dtype) == (["a", "b"], "tokenized_data", None)
    assert arguments.special_tokens == [END]
    assert count_words.build_parser().parse_args(["--inputs", "a", "--output", "b"]).special_tokens == [END]


@pytest.mark.parametrize("program", [count_words, train_tokenizer, tokenize])
def test_help_has_an_example(program, capsys):
    with pytest.raises(SystemExit) as exit_:
        program.main(["--help"])
    assert exit_.value.code == 0
    assert "example:\n  " in capsys.readouterr().out


def test_count_words_on_bad_text(tmp_path, capsys):
    (tmp_path / "a.txt").write_bytes(b"abc\xff")
    argv = ["--inputs", tmp_path / "a.txt", "--output", tmp_path / "a.npz"]
    assert "is not UTF-8: byte 0xff at offset 3" in fails(count_words, argv, capsys)
    argv = ["--inputs", tmp_path / "b.txt", "--output", tmp_path / "a.npz"]
    assert "there is no file" in fails(count_words, argv, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_train_tokenizer_on_bad_input(bible_file, tmp_path, capsys):
    (tmp_path / "empty.txt").touch()
    assert "is empty" in fails(train_tokenizer, [tmp_path / "empty.txt", "--output_dir", tmp_path], capsys)
    argv = [bible_file, "--vocab_size", 257, "--special_tokens", "<|endoftext|>", "<|a|>", "--output_dir", tmp_path]
    assert "must be at least 258" in fails(train_tokenizer, argv, capsys)
    not_a_folder = tmp_path / "empty.txt" / "x"
    assert "cannot write" in fails(train_tokenizer, [bible_file, "--output_dir", not_a_folder], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["empty.txt"]


def test_tokenize_with_bad_files(bible_file, trained_files, tmp_path, capsys):
    vocab, merges = trained_files
    common = ["--inputs", bible_file, "--output_dir", tmp_path / "out"]
    missing = tmp_path / "vocab.json"
    absent = [*common, "--vocab_path", missing, "--merges_path", merges]
    assert "there is no such file" in fails(tokenize, absent, capsys)
    swapped = [*common, "--vocab_path", merges, "--merges_path", vocab]
    assert "is not a vocabulary" in fails(tokenize, swapped, capsys)
    BPETokenizer({i: bytes([i]) for i in range(256)}, []).save(tmp_path / "v", tmp_path / "m")
    other = [*common, "--vocab_path", tmp_path / "v", "--merges_path", tmp_path / "m", "--special_tokens", "<x>"]
    with pytest.raises(SystemExit):
        tokenize.main([str(argument) for argument in other])
    assert "<|endoftext|> ends every document" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
