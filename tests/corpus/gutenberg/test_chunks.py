import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minlm.corpus.gutenberg.chunks import build_ancients, cut_book, cut_points, hold_out
from minlm.documents import iter_documents
from minlm.errors import MinlmError
from minlm.scripts import build_ancients as program

WORD = re.compile(r"\b\w+\b")


def words(text):
    return len(WORD.findall(text))


def make_book(folder, name, number_of_words, seed=0):
    """Paragraphs of a few sentences, each word marked with the book's name."""
    rng = random.Random(seed)
    text, left = "", number_of_words
    while left > 0:
        sentence = min(left, rng.randrange(3, 30))
        text += " ".join(f"{name}\u00e9{rng.randrange(99)}" for _ in range(sentence)) + "."
        text += rng.choice([" ", " ", "\n", "\n\n"])
        left -= sentence
    path = folder / f"{name}.txt"
    path.write_text(text.strip() + "\n")
    return path


@given(
    st.lists(st.sampled_from(["word ", "\u201cOne.\u201d ", "end. ", "two\n\n", "-- ", "\n"]), max_size=120),
    st.integers(1, 10),
    st.integers(2, 4),
)
def test_cuts_lose_nothing_and_keep_to_the_sizes(parts, min_words, factor):
    text, max_words = "".join(parts), min_words * factor
    total = words(text)
    cuts = cut_points(text, min_words, max_words)
    documents = [
        text[start:end] for start, end in zip([0, *(end for end, _ in cuts)], (end for end, _ in cuts), strict=False)
    ]
    assert "".join(documents) == (text if total else "")
    assert [count for _, count in cuts] == [words(document) for document in documents]
    assert all(count <= max_words for _, count in cuts)
    assert all(count >= min(min_words, total) for _, count in cuts)


def test_cuts_prefer_paragraphs_then_sentences():
    paragraph = "One two three. Four five six. Seven eight nine ten.\n\n"
    for end, _ in cut_points(paragraph * 20, 10, 25)[:-1]:
        assert (paragraph * 20)[:end].endswith("\n\n")
    sentences = "One two three. " * 60
    for end, _ in cut_points(sentences, 10, 25)[:-1]:
        assert sentences[:end].endswith(". ")
    assert [count for _, count in cut_points("word " * 95, 10, 25)][:2] == [17, 17]


def test_pieces_are_bytes_of_the_file(tmp_path):
    path = make_book(tmp_path, "a", 3000)
    pieces = cut_book(path, 100, 200)
    data = path.read_bytes()
    assert b"".join(data[piece.start : piece.end] for piece in pieces) == data
    assert sum(piece.words for piece in pieces) == 3000


@given(
    st.dictionaries(st.integers(0, 999), st.integers(1, 10**6), min_size=2, max_size=30),
    st.floats(0.01, 0.9),
    st.integers(0, 3),
)
def test_hold_out(books, fraction, seed):
    chosen = hold_out(books, fraction, seed)
    assert chosen == hold_out(books, fraction, seed)
    assert 1 <= len(chosen) < len(books)
    total, held = sum(books.values()), sum(books[book] for book in chosen)
    # Leaving any one of them out, or having none, would be no nearer to the target (but one book must be held out).
    assert abs(held - fraction * total) <= max(books.values())


def test_build(tmp_path):
    names = [f"{letter}{letter}" for letter in "abcdefghijkl"]
    books = [make_book(tmp_path, name, 1000 * (i + 1), seed=i) for i, name in enumerate(names)]
    outputs = tmp_path / "o" / "train.txt", tmp_path / "o" / "valid.txt"
    pieces = build_ancients(books, *outputs, min_words=100, max_words=200, valid_fraction=0.1, seed=3)
    train, valid = (list(iter_documents(output)) for output in outputs)
    assert [len(pieces["train"]), len(pieces["valid"])] == [len(train), len(valid)]
    of = [{document[:2] for document in documents} for documents in (train, valid)]
    assert not of[0] & of[1], "a book is in both"
    assert of[0] | of[1] == set(names)
    assert all(100 <= words(document) <= 200 for document in train + valid)
    total = sum(map(words, train + valid))
    assert total == 78_000
    assert abs(sum(map(words, valid)) / total - 0.1) < 0.05
    assert len({document[:2] for document in train[:20]}) > 5, "not shuffled across books"
    for document in train[:5]:
        assert document == document.strip()

    again = tmp_path / "o2" / "train.txt", tmp_path / "o2" / "valid.txt"
    build_ancients(books[::-1], *again, min_words=100, max_words=200, valid_fraction=0.1, seed=3)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in outputs]
    build_ancients(books, *again, min_words=100, max_words=200, valid_fraction=0.1, seed=4)
    assert again[0].read_bytes() != outputs[0].read_bytes()


def test_failed_books(tmp_path):
    (tmp_path / "clean").mkdir()
    books = [make_book(tmp_path / "clean", str(i), 50) for i in range(18)]
    empty = [tmp_path / "clean" / "77.txt", tmp_path / "clean" / "88.txt"]
    for path in empty:
        path.write_text("")
    outputs = tmp_path / "train.txt", tmp_path / "valid.txt"
    build_ancients([*books, *empty], *outputs, max_failed=0.1)
    with pytest.raises(MinlmError, match=r"2 of 20 books .* \(77, 88\).*rm .*books/77.txt .*books/88"):
        build_ancients([*books, *empty], *outputs, max_failed=0.09)
    with pytest.raises(MinlmError, match="two are needed"):
        build_ancients([books[0], *empty], *outputs, max_failed=1)


def test_program(tmp_path, capfd):
    books = [str(make_book(tmp_path, name, 800)) for name in ("a", "b")]
    outputs = ["--output_train", str(tmp_path / "t"), "--output_valid", str(tmp_path / "v")]
    program.main(["--inputs", *books, *outputs])
    shown = capfd.readouterr().err
    assert "1 documents, 800 words" in shown
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    for wrong, problem in [(["--inputs", *books, str(tmp_path / "latin.txt"), *outputs], "offset 3"),
                           (["--inputs", *books, str(tmp_path / "missing.txt"), *outputs], "missing.txt"),
                           (["--inputs", *books, "--min_words", "2000", *outputs], "min_words"),
                           (["--inputs", *books, "--output_train", books[0] + "/t"], "cannot write")]:  # fmt: skip
        with pytest.raises(SystemExit) as stopped:
            program.main(wrong)
        assert stopped.value.code == 1
        shown = capfd.readouterr().err
        assert problem in shown
        assert "Traceback" not in shown
