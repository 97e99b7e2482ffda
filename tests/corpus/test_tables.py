"""Tables are read as pandas, pyarrow and json wrote them."""

import gzip
import io
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from minlm.corpus import tables
from minlm.corpus.local_files import _read_files
from minlm.errors import MinlmError

TEXTS = ["one", 'a "quoted", text', "two\nlines\tand a tab", "größer 😀", "it<|endoftext|>s", "last"]
EXPECTED = [text.replace("<|endoftext|>", "") for text in TEXTS]


def table(texts=TEXTS, **columns):
    return pd.DataFrame({"id": range(len(texts)), "body": pd.array(texts, dtype=object), **columns})


def write_arrow(data, path, new=pa.ipc.new_stream):
    arrow = pa.Table.from_pandas(data)
    with new(str(path), arrow.schema) as writer:
        writer.write_table(arrow, max_chunksize=4)


def lines(data):
    return "".join(json.dumps(row) + "\n" for row in data.to_dict("records"))


WRITERS = {
    "a.parquet": lambda data, path: pq.write_table(pa.Table.from_pandas(data), path, row_group_size=4),
    "zstd.parquet": lambda data, path: data.to_parquet(path, compression="zstd"),
    "stream.arrow": write_arrow,
    "file.arrow": lambda data, path: write_arrow(data, path, pa.ipc.new_file),
    "a.csv": lambda data, path: data.to_csv(path, index=False),
    "crlf.csv": lambda data, path: data.to_csv(path, index=False, lineterminator="\r\n", encoding="utf-8-sig"),
    "a.csv.gz": lambda data, path: data.to_csv(path, index=False),
    "a.csv.zst": lambda data, path: path.write_bytes(zstandard.compress(data.to_csv(index=False).encode())),
    "a.tsv": lambda data, path: data.to_csv(path, index=False, sep="\t"),
    "a.json": lambda data, path: data.to_json(path, orient="records", force_ascii=False),
    "pretty.json": lambda data, path: data.to_json(path, orient="records", indent=4),
    "lines.json.gz": lambda data, path: path.write_bytes(gzip.compress(lines(data).encode())),
    "a.jsonl": lambda data, path: path.write_text(lines(data)),
    "a.ndjson": lambda data, path: path.write_text(lines(data)),
}


def read(path, column="body"):
    problems: list[str] = []
    texts = list(_read_files([path], "separator", column, problems))
    if problems:
        raise MinlmError(*problems)
    return texts


@pytest.mark.parametrize("name", WRITERS)
def test_a_column(tmp_path, caplog, name):
    WRITERS[name](table(), tmp_path / name)
    assert read(tmp_path / name) == EXPECTED
    assert "left out" not in caplog.text
    with pytest.raises(MinlmError, match=r"there is no 'text', only 'id', 'body'.*text_field") as error:
        read(tmp_path / name, "text")
    assert str(error.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize("name", WRITERS)
def test_cells_without_a_text_are_counted(tmp_path, caplog, name):
    caplog.set_level("INFO", "minlm")
    WRITERS[name](table(["one", None, "two", None]), tmp_path / name)
    assert read(tmp_path / name) == ["one", "two"]
    assert f"{name}: left out 2 rows whose 'body' is empty or not a text" in caplog.text


@pytest.mark.parametrize("name", [name for name in WRITERS if "csv" not in name and "tsv" not in name])
def test_a_column_of_numbers(tmp_path, name):
    WRITERS[name](table(), tmp_path / name)
    with pytest.raises(MinlmError, match="contains no text"):
        read(tmp_path / name, "id")


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_types_of_text(tmp_path, kind):
    arrow = pa.table({"body": pa.array(TEXTS).cast(kind) if "view" not in str(kind) else pa.array(TEXTS, kind)})
    with pa.ipc.new_stream(str(tmp_path / "a.arrow"), arrow.schema) as writer:
        writer.write_table(arrow)
    assert read(tmp_path / "a.arrow") == EXPECTED
    if "view" not in str(kind):
        pq.write_table(arrow, tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet") == EXPECTED


def test_a_name_twice(tmp_path):
    (tmp_path / "a.csv").write_text("body,body\none,two\n")
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], ["body", "body"]), tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(MinlmError, match="has two columns 'body'"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ('1,"one"\n2,hello, world\n', r"line 3: 3 cells, but 2 columns: a text with a ',' needs quotes"),
        ('1,"one\n2,two\n', "line [34]: unexpected end of data"),
        ('1,"one"two\n', "line 2: ',' expected after"),
        (b"1,caf\xe9\n", "is not UTF-8: byte 0xe9"),
        ("", "contains no text"),
    ],
)
def test_bad_csv(tmp_path, rows, reason):
    (tmp_path / "a.csv").write_bytes(b"id,body\n" + (rows if isinstance(rows, bytes) else rows.encode()))
    with pytest.raises(MinlmError, match=rf"a\.csv.*{reason}"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "rest",
    [', {"body": "b"]', ' {"body": "b"}]', ", 5]", ', {"body": "\\ud800"}]', ', {"body": "b"}, ]', "," + "[" * 100_000],
)
def test_a_bad_element_is_named(tmp_path, rest):
    (tmp_path / "a.json").write_text('[{"body": "a"}' + rest)
    with pytest.raises(MinlmError, match=r'a\.json, element [23]: not a JSON object with a text under "body"'):
        read(tmp_path / "a.json")


def test_packed_parquet(tmp_path):
    (tmp_path / "a.parquet.gz").write_bytes(b"")
    with pytest.raises(MinlmError, match="unpack this file"):
        read(tmp_path / "a.parquet.gz")


def test_without_pyarrow(tmp_path, monkeypatch):
    WRITERS["a.parquet"](table(), tmp_path / "a.parquet")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MinlmError, match=r"a\.parquet needs the package pyarrow.*minlm\[parquet\]"):
        read(tmp_path / "a.parquet")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(VALUES), st.integers(1, 40), st.sampled_from([None, 0, 3]), st.booleans())
def test_elements_of_an_array_in_blocks_of_any_size(values, size, indent, ascii):
    text = json.dumps(values, indent=indent, ensure_ascii=ascii).encode()

    class Slow(io.BytesIO):
        def read(self, count=-1):
            return super().read(min(count, size))

    assert list(tables._elements(Slow(text), Path("a.json"), "body")) == values


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a.json.zst", "A.JSON", "A.CSV", "A.Csv.GZ"])
def test_packed_names_and_capitals(tmp_path, name):
    data = table()
    content = json.dumps(data.to_dict("records")) if ".json" in name.lower() else data.to_csv(index=False)
    pack = {".gz": gzip.compress, ".zst": zstandard.compress}.get(Path(name).suffix.lower(), lambda content: content)
    (tmp_path / name).write_bytes(pack(content.encode()))
    assert read(tmp_path / name) == EXPECTED


@pytest.mark.parametrize("rest", ['[{"body": "b"}]', "x", "]"])
def test_nothing_may_follow_an_array(tmp_path, rest):
    (tmp_path / "a.json").write_text(f'[{{"body": "a"}}]\n{rest}\n')
    with pytest.raises(MinlmError, match="there is more after the end of the JSON array"):
        read(tmp_path / "a.json")
