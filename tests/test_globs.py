"""Folders as `datasets` itself saves them."""

import json

import pytest

from minlm.corpus.local_files import collect_files
from minlm.documents import iter_documents
from minlm.errors import MinlmError
from minlm.globs import matching_files


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    datasets = pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("saved") / "da[ta]"
    rows = datasets.Dataset.from_dict({"body": [f"text {number}" for number in range(2500)], "id": range(2500)})
    splits = datasets.DatasetDict({"train": rows, "test": rows.select([7, 3])})
    splits.save_to_disk(folder, num_shards={"train": 3, "test": 1})
    return folder


def test_a_saved_dataset(saved, tmp_path):
    (saved / "train" / "cache-1234.arrow").write_bytes(b"")  # what `map` leaves beside the data
    counts = collect_files(
        [str(saved / "train")], [str(saved / "test")], tmp_path / "t", tmp_path / "v", text_field="body"
    )
    assert counts == {"train": 2500, "valid": 2}
    assert list(iter_documents(tmp_path / "t")) == [f"text {number}" for number in range(2500)]
    assert list(iter_documents(tmp_path / "v")) == ["text 7", "text 3"]


def test_a_folder_with_splits_and_other_folders(saved, tmp_path):
    with pytest.raises(MinlmError, match=r"da\[ta\] is a folder; name one of its splits, for example .*/test"):
        matching_files(str(saved))
    with pytest.raises(MinlmError, match=r"is a folder; name its files"):
        matching_files(str(tmp_path))
    (tmp_path / "folder.txt").mkdir()
    assert matching_files(f"{tmp_path}/*.txt") == []


@pytest.mark.parametrize("state", ["", "[]", '{"_data_files": [{}]}', '{"_data_files": [{"filename": "../a.arrow"}]}'])
def test_a_damaged_list_of_files(tmp_path, state):
    (tmp_path / "state.json").write_text(state)
    with pytest.raises(MinlmError, match=r"state\.json is not the list of a saved dataset's files, or is damaged"):
        matching_files(str(tmp_path))


def test_names_come_before_globs(tmp_path):
    for name in ("a1.txt", "a[1].txt"):
        (tmp_path / name).write_text(json.dumps(name))
    assert matching_files(f"{tmp_path}/a[1].txt") == [f"{tmp_path}/a[1].txt"]
