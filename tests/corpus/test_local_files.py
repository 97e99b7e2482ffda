import gzip
import json

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from minlm.corpus.local_files import collect_files, hold_out
from minlm.documents import iter_documents
from minlm.errors import MinlmError
from minlm.scripts import collect_files as program


@pytest.fixture
def collect(tmp_path):
    """Collects, and returns the documents of (train, valid)."""

    def run(train, valid=(), **options):
        outputs = tmp_path / "out" / "train.txt", tmp_path / "out" / "valid.txt"
        counts = collect_files(
            [str(tmp_path / p) for p in train], [str(tmp_path / p) for p in valid], *outputs, **options
        )
        documents = [list(iter_documents(output)) for output in outputs]
        assert list(counts.values()) == [len(part) for part in documents]
        return documents

    return run


def write(folder, name, text):
    path = folder / name
    data = text if isinstance(text, bytes) else text.encode()
    if name.endswith(".gz"):
        data = gzip.compress(data)
    if name.endswith(".zst"):
        data = zstandard.compress(data)
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz", ".txt.zst"])
def test_modes(tmp_path, collect, suffix):
    write(tmp_path, f"a{suffix}", "one\r\nline\n\n\n two<|endoftext|>\nthree\n \nfour\n<|endoftext|>\n")
    write(tmp_path, f"b{suffix}", "five\n")
    write(tmp_path, f"v{suffix}", "valid")
    a, b, v = f"a{suffix}", f"b{suffix}", f"v{suffix}"
    assert collect([a, b], [v]) == [["one\nline\n\n\n two", "three\n \nfour", "five"], ["valid"]]
    assert collect([a, b], [v], documents="file")[0] == ["one\nline\n\n\n two\nthree\n \nfour", "five"]
    assert collect([a, b], [v], documents="blank_line")[0] == ["one\nline", " two\nthree", "four", "five"]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
@pytest.mark.parametrize("documents", ["separator", "file", "blank_line"])
def test_jsonl(tmp_path, collect, suffix, documents):
    texts = [
        "first\n\nof two",
        "it<|endoftext|>s",
        "\u00e9\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    ]
    write(tmp_path, f"a{suffix}", "".join(json.dumps({"body": text}) + "\n\n" for text in texts))
    write(tmp_path, f"v{suffix}", '{"body": "valid"}')
    found = collect([f"a{suffix}"], [f"v{suffix}"], text_field="body", documents=documents)
    assert found == [["first\n\nof two", "its", "é😀"], ["valid"]]


@pytest.mark.parametrize("line", ['{"other": "x"}', "[1]", "{", "null", '{"text": "\\ud800"}'])
def test_bad_jsonl_line_is_named(tmp_path, collect, line):
    write(tmp_path, "a.jsonl", '{"text": "good"}\n' + line)
    write(tmp_path, "v.txt", "valid")
    with pytest.raises(MinlmError, match=r"a\.jsonl, line 2: .*text_field"):
        collect(["a.jsonl"], ["v.txt"])


def test_text_field(tmp_path, collect):
    write(tmp_path, "a.jsonl", '{"content": "one", "text": "other"}\n\n{"content": "two", "id": 2}\n')
    write(tmp_path, "v.jsonl.gz", '{"content": "valid"}\n')
    assert collect(["a.jsonl"], ["v.jsonl.gz"], text_field="content") == [["one", "two"], ["valid"]]
    with pytest.raises(MinlmError, match=r"a\.jsonl, line 3: there is no 'text', only 'content', 'id'"):
        collect(["a.jsonl"], ["v.jsonl.gz"])
    with pytest.raises(MinlmError, match=r"a\.jsonl, line 1: there is no 'body', .*--text_field"):
        collect(["a.jsonl"], ["v.jsonl.gz"], text_field="body")


def test_globs(tmp_path, collect):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("b.txt", "a.txt", "deep/er/c.txt", "odd[1].txt"):
        write(tmp_path, name, name)
    write(tmp_path, "v.text", "valid")
    assert collect(["**/*.txt", "a.txt"], ["v.text"])[0] == ["a.txt", "b.txt", "deep/er/c.txt", "odd[1].txt"]
    assert collect(["odd[1].txt"], ["v.text"])[0] == ["odd[1].txt"]
    with pytest.raises(MinlmError, match="no file matches"):
        collect(["*.md"], ["v.text"])
    with pytest.raises(MinlmError, match="both training and validation"):
        collect(["*.txt"], ["a.txt"])


@given(st.integers(2, 300), st.floats(0.001, 0.5), st.integers(0, 5))
def test_held_out_fraction(number, fraction, seed):
    held_out = [is_held_out for _, is_held_out in hold_out(map(str, range(number)), fraction, seed)]
    assert len(held_out) == number
    assert 1 <= sum(held_out) < number
    assert abs(sum(held_out) - fraction * number) <= 1


def test_held_out_documents(tmp_path, collect):
    write(tmp_path, "a.txt", "<|endoftext|>".join(f"document {i}" for i in range(100)))
    train, valid = collect(["a.txt"], valid_fraction=0.1)
    assert len(valid) == 10
    assert sorted(train + valid) == sorted(f"document {i}" for i in range(100))
    assert collect(["a.txt"], valid_fraction=0.1) == [train, valid]
    assert collect(["a.txt"], valid_fraction=0.1, seed=1)[1] != valid


def test_bad_files(tmp_path, collect):
    write(tmp_path, "one.txt", "a single document")
    with pytest.raises(MinlmError, match="single document"):
        collect(["one.txt"])
    with pytest.raises(MinlmError, match="valid_fraction"):
        collect(["one.txt"], valid_fraction=0)
    write(tmp_path, "empty.txt", " \n\n<|endoftext|>\n")
    with pytest.raises(MinlmError, match=r"empty\.txt contains no text"):
        collect(["one.txt", "empty.txt"])
    write(tmp_path, "latin.txt.gz", b"caf\xe9 au lait")
    with pytest.raises(MinlmError, match=r"latin\.txt\.gz is not UTF-8: byte 0xe9 at offset 3"):
        collect(["one.txt"], ["latin.txt.gz"])
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"text " * 1000)[:-20])
    (tmp_path / "no.txt.gz").write_bytes(b"plain text")
    (tmp_path / "no.txt.zst").write_bytes(b"plain text")
    for name in ("cut.txt.gz", "no.txt.gz", "no.txt.zst"):
        with pytest.raises(MinlmError, match="is damaged"):
            collect(["one.txt", name])
    (tmp_path / "deep.jsonl").write_text('{"text": "a"}\n' + "[" * 100_000)
    with pytest.raises(MinlmError, match=r"deep\.jsonl, line 2: not a JSON object"):
        collect(["one.txt", "deep.jsonl"])
    assert not (tmp_path / "out" / "train.txt").exists()


def test_program(tmp_path, capfd):
    write(tmp_path, "a.txt", "one<|endoftext|>two")
    arguments = ["--train", str(tmp_path / "*.txt"), "--output_train", str(tmp_path / "o" / "t"), "--output_valid"]
    program.main([*arguments, str(tmp_path / "o" / "v")])
    assert "1 documents" in capfd.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        program.main([*arguments, str(tmp_path / "a.txt" / "v")])
    assert stopped.value.code == 1
    assert "cannot write" in capfd.readouterr().err


def test_all_bad_files_are_named_in_one_error(tmp_path):
    (tmp_path / "good.txt").write_text("a text")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait")
    (tmp_path / "notes.txt.gz").write_text("not compressed")
    train = [str(tmp_path / name) for name in ("good.txt", "empty.txt", "latin.txt")]
    with pytest.raises(MinlmError) as caught:
        collect_files(train, [str(tmp_path / "notes.txt.gz")], tmp_path / "train", tmp_path / "valid")
    first, *rest = str(caught.value).splitlines()
    assert first == "3 files cannot be used:"
    assert [line.split(" ")[2].rpartition("/")[2] for line in rest] == ["empty.txt", "latin.txt", "notes.txt.gz"]
    assert not (tmp_path / "train").exists()
