import csv
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minlm.bulk.options import Options
from minlm.corpus.mix import mix_corpora
from minlm.documents import SEPARATOR, iter_documents
from minlm.errors import MinlmError
from minlm.reports.corpus import COLUMNS, length_histogram, measure, report_corpora
from minlm.scripts import corpus_report as program
from minlm.tokenization import BPETokenizer

WORD = re.compile(r"\b\w+\b")
PARTS = (
    "The dog's bone. ",
    "don't ",
    "caf\u00e9 ",
    "\u4e2d\u6587 ",
    "x1 ",
    "42 ",
    "-- ",
    "\n\n",
    "  ",
    "\u201cOh!\u201d ",
)
PYTHON = Options(backend="python")  # nothing to compile


@pytest.fixture(scope="module")
def tokenizer():
    vocab = {i: bytes([i]) for i in range(256)} | {256: SEPARATOR.encode()}
    merges = [(b"d", b"o"), (b" ", b"do"), (b"T", b"h"), (b"Th", b"e"), (b" do", b"g"), (b"\xc3", b"\xa9")]
    vocab |= {257 + i: a + b for i, (a, b) in enumerate(merges)}
    return BPETokenizer(vocab, merges, [SEPARATOR], backend="python")


def write(folder, **splits):
    folder.mkdir()
    for split, documents in splits.items():
        text = "".join(f"{document}\n{SEPARATOR}\n" for document in documents)
        (folder / f"{split}.txt").write_text(text, encoding="utf-8", newline="")
    return folder


@given(st.lists(st.lists(st.sampled_from(PARTS), max_size=12).map("".join), min_size=1, max_size=8), st.booleans())
def test_a_file_is_measured_as_by_hand(tmp_path_factory, tokenizer, documents, ends_with_separator):
    path = tmp_path_factory.mktemp("measured") / "train.txt"
    text = "the end\n" + f"\n{SEPARATOR}\n".join(documents) + (f"\n{SEPARATOR}\n" if ends_with_separator else "")
    path.write_text(text, encoding="utf-8", newline="")
    content = measure(path, tokenizer, PYTHON)
    lengths = [len(WORD.findall(document)) for document in iter_documents(path)]
    assert content.documents == sum(length > 0 for length in lengths)
    assert content.words == sum(lengths) == len(WORD.findall(text.replace(SEPARATOR, "")))
    assert content.bytes == len(text.encode())
    assert content.tokens == sum(index != 256 for index in tokenizer.encode(text))
    assert Counter(length for length in lengths if length) == Counter(dict(enumerate(content.lengths.tolist())))
    letters = re.findall(r"(?<!['\w])[^\W\d_]+", text.replace(SEPARATOR, " ").replace("x1", ""))
    expected = Counter(word.lower() for word in letters) + Counter(x=text.count("x1"))
    assert content.frequent == expected


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=50))
def test_histogram(lengths):
    edges, percent = length_histogram(np.bincount(lengths))
    assert (np.diff(edges) > 0).all()
    assert edges[0] == 1
    assert percent.sum() == pytest.approx(100)
    np.testing.assert_allclose(percent, np.histogram(lengths, edges)[0] * 100 / len(lengths))
    assert edges[-1] > max(lengths)  # numpy counts a value at the last edge, we do not


@pytest.fixture
def corpora(tmp_path):
    base = write(tmp_path / "base", train=[f"base {i} once upon" for i in range(90)], valid=["base end"] * 9)
    books = write(tmp_path / "books", train=[f"old {i} words here" for i in range(40)], valid=["old end"] * 5)
    mix_corpora(
        *[(folder / "train.txt", folder / "valid.txt") for folder in (base, books, tmp_path / "mix")], share=0.4,
        record=tmp_path / "mix" / "mixture.json",
    )  # fmt: skip
    return {"base": base, "books": books, "mix": tmp_path / "mix"}


def test_table_and_picture(corpora, tokenizer, tmp_path, caplog):
    outputs = tmp_path / "new" / "c.csv", tmp_path / "new" / "c.png"
    with caplog.at_level("INFO", "minlm"):
        rows = report_corpora(corpora, tokenizer, *outputs, corpora["mix"] / "mixture.json", PYTHON)
    with open(outputs[0], newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == COLUMNS
    assert table == [{name: str(value) for name, value in row.items()} for row in rows]
    by = {(row["corpus"], row["split"]): row for row in rows}
    assert list(by) == [(name, split) for split in ("train", "valid") for name in corpora]
    assert by["base", "train"]["documents"] == 90
    assert by["books", "valid"]["words"] == 10
    for split in ("train", "valid"):
        mixed = list(iter_documents(corpora["mix"] / f"{split}.txt"))
        words = {name: sum(len(WORD.findall(d)) for d in mixed if d.startswith(name)) for name in ("base", "old")}
        assert by["mix", split]["words"] == sum(words.values())
        for name, row in (("base", by["base", split]), ("old", by["books", split])):
            assert row["share"] == round(words[name] / sum(words.values()), 4)
            assert row["passes"] == round(words[name] / row["words"], 4)
        assert by["mix", split]["share"] == ""
        assert by["mix", split]["tokens_per_word"] == round(by["mix", split]["tokens"] / sum(words.values()), 4)
    assert "books train: 40 documents, 160 words" in caplog.text
    assert "40.0% of the mix, read 1.30 times" in caplog.text
    assert outputs[1].read_bytes().startswith(b"\x89PNG")
    before = outputs[1].read_bytes()
    report_corpora(corpora, tokenizer, *outputs, None, PYTHON)
    assert outputs[1].read_bytes() == before
    assert ",," in outputs[0].read_text()  # without a record nothing is known of shares


def test_what_is_wrong(corpora, tokenizer, tmp_path):
    outputs = tmp_path / "c.csv", tmp_path / "c.png"
    record = corpora["mix"] / "mixture.json"
    record.write_text('{"train": {"a": 1}}')
    with pytest.raises(MinlmError, match=r"mixture\.json is not a record of mixing"):
        report_corpora(corpora, tokenizer, *outputs, record, PYTHON)
    (corpora["books"] / "valid.txt").write_text(f"--\n{SEPARATOR}\n")
    with pytest.raises(MinlmError, match=r"valid\.txt holds no words"):
        report_corpora(corpora, tokenizer, *outputs, None, PYTHON)
    (corpora["books"] / "valid.txt").write_bytes(b"caf\xe9")
    with pytest.raises(MinlmError, match="offset 3"):
        report_corpora(corpora, tokenizer, *outputs, None, PYTHON)
    with pytest.raises(MinlmError, match="cannot write"):
        report_corpora(corpora, tokenizer, corpora["mix"] / "train.txt" / "c.csv", outputs[1], None, PYTHON)
    assert not outputs[0].exists()


def test_program(corpora, tokenizer, tmp_path, capfd):
    vocab, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    tokenizer.save(vocab, merges)
    arguments = ["--vocab_path", vocab, "--merges_path", merges, "--output_csv", tmp_path / "c.csv"]
    arguments = [*map(str, arguments), "--output_png", str(tmp_path / "c.png"), "--corpora"]
    program.main([*arguments, f"base={corpora['base']}"])
    assert "base valid: 9 documents, 18 words" in capfd.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        program.main([*arguments, f"base={tmp_path / 'missing'}"])
    assert stopped.value.code == 1
    assert "missing/train.txt: No such file" in capfd.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        program.main([*arguments, "base"])
    assert stopped.value.code == 2
