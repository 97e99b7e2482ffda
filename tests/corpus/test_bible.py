import pytest

from minlm.corpus.bible import sample_chapters, write_sample
from minlm.documents import iter_documents
from minlm.errors import MinlmError
from minlm.scripts import sample_corpus


@pytest.fixture(scope="module")
def chapters():
    return sample_chapters()


def test_chapters(chapters):
    assert len(chapters) == 1189
    assert chapters[0].startswith("At the first God made the heaven and the earth.\nAnd the earth was waste")
    assert chapters[-1].endswith("\nThe grace of the Lord Jesus be with the saints. So be it.")
    assert 20_000 < sum(chapter.count("\n") + 1 for chapter in chapters) < 32_000  # verses


def test_text_is_clean(chapters):
    """No verse numbers, marks or cut words; few different words is what makes this text easy."""
    text = "\n".join(chapters)
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,;:?!'()-\n")
    assert "  " not in text
    words = {word.strip(".,;:?!'()-").lower() for word in text.split()}
    assert {"heaven", "jerusalem", "kingdom"} < words
    assert len(words) < 9000


def test_every_twentieth_chapter_is_validation(tmp_path, chapters):
    counts = write_sample(tmp_path / "train.txt", tmp_path / "valid.txt", valid_every=20)
    assert counts == {"train": 1130, "valid": 59}
    assert list(iter_documents(tmp_path / "valid.txt")) == chapters[19::20]
    train = list(iter_documents(tmp_path / "train.txt"))
    assert train == [chapter for i, chapter in enumerate(chapters, start=1) if i % 20]


def test_program(tmp_path, capfd):
    train, valid = tmp_path / "new" / "train.txt", tmp_path / "valid.txt"
    sample_corpus.main(["--output_train", str(train), "--output_valid", str(valid)])
    assert "1,130 chapters" in capfd.readouterr().err
    assert train.read_bytes().endswith(b"\n<|endoftext|>\n")
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stopped:
        sample_corpus.main(["--output_train", str(tmp_path / "file" / "train.txt"), "--output_valid", str(valid)])
    assert stopped.value.code == 1
    assert "cannot write" in capfd.readouterr().err


@pytest.mark.parametrize("every", [0, 1, 2000])
def test_no_empty_split(tmp_path, every):
    with pytest.raises(MinlmError, match="valid_every"):
        write_sample(tmp_path / "train.txt", tmp_path / "valid.txt", every)
    assert list(tmp_path.iterdir()) == []
