"""No document that any source writes has a separator in it, whatever is taken out, joined or normalized."""

import json
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from minlm import documents
from minlm.corpus.gutenberg.chunks import build_ancients
from minlm.corpus.gutenberg.cleaning import clean_book
from minlm.corpus.local_files import collect_files
from minlm.corpus.mix import mix_corpora
from minlm.documents import SEPARATOR, iter_documents, trim, without_separator, write_document
from minlm.errors import MinlmError

# Pieces of separators, and all that some step takes out, joins or changes.
PIECES = st.sampled_from([
    SEPARATOR, "<|endof", "text|>", "<|", "|>", "<|endoftext", "<|endof-\n", "<|endof\r\n", "<|endof\r",
    "\ufeff", "\u00ad", "\u200b", "[12]", "{12}", "(12)", "_", "=", "[Illustration]", "[Footnote 1: x]",
    "\n", "\n\n", "\r\n", "\r", " ", "\0", "endoftext", "a word ",
])  # fmt: skip
NESTED = "<|endof<|endoftext|>text|>"
TEXTS = st.lists(PIECES, max_size=14).map("".join) | st.just(NESTED)


def repeated(text):
    while SEPARATOR in text:
        text = text.replace(SEPARATOR, "")
    return text


@given(TEXTS)
def test_separators_go_until_none_is_left(text):
    assert without_separator(text) == repeated(text)


def test_deep_nesting_takes_no_longer_than_its_length():
    start = time.perf_counter()
    half = 100_000
    assert without_separator("x" + "<|endof" * half + SEPARATOR + "text|>" * half + "y") == "xy"
    assert time.perf_counter() - start < 10  # replacing again and again would take minutes


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS, min_size=1, max_size=4))
@example([NESTED])
@example(["<|endof", "text|>"])
@example(["\ufeff\n"])
def test_no_source_writes_a_separator_within_a_document(tmp_path, texts):
    written = []
    write = write_document

    def recorded(out, text):
        write(out, text)
        written.append(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        for module in ("local_files", "gutenberg.chunks"):
            patch.setattr(f"minlm.corpus.{module}.write_document", recorded)
        for number, source in enumerate(sources(tmp_path, texts)):
            outputs = [tmp_path / f"{number}.{split}" for split in ("train", "valid")]
            written.clear()
            source(*outputs)
            found = [document for output in outputs for document in iter_documents(output)]
            expected = [trim(repeated(text)) for text in written]
            # U+FEFF is a character within a text, but a byte order mark where it begins the file
            without_mark = [{trim(text.strip("\ufeff")) for text in texts} - {""} for texts in (found, expected)]
            assert without_mark[0] == without_mark[1]
            for output in outputs:
                assert output.read_text().count(SEPARATOR) == output.read_text().count(f"\n{SEPARATOR}\n")


def sources(folder, texts):
    """Functions (train, valid) that write these texts as each source would."""
    texts = [text + " and a word" for text in texts]
    (folder / "v.txt").write_text("valid")
    (folder / "a.txt").write_bytes("\n\n".join(texts).encode())
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    for name in ("a.txt", "a.jsonl"):
        for mode in ("separator", "file", "blank_line"):
            yield lambda *outputs, name=name, mode=mode: collect_files(
                [str(folder / name)], [str(folder / "v.txt")], *outputs, documents=mode
            )
    for light in (False, True):
        for i, text in enumerate(texts * 2):
            cleaned = clean_book(f"{text}\n\n{text}", light)[0]
            assert SEPARATOR not in cleaned
            (folder / f"book{i}.txt").write_bytes(cleaned.encode())
        books = [folder / f"book{i}.txt" for i in range(len(texts) * 2)]
        yield lambda *outputs, books=books: build_ancients(books, *outputs, min_words=1, max_words=5, max_failed=1)
    (folder / "raw.txt").write_bytes(texts[0].encode())
    yield lambda *outputs: build_ancients([folder / "raw.txt", folder / "v.txt"], *outputs, min_words=1, max_words=5)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS, min_size=1, max_size=6), st.sampled_from([0.0, 0.5, 1.0]))
def test_mixing_makes_no_separators(tmp_path, monkeypatch, texts, share):
    """Whatever lies in the files that are mixed: what is written are parts of documents that were read."""
    (tmp_path / "a.txt").write_bytes("\n".join([*texts, "words"]).encode())
    (tmp_path / "b.txt").write_bytes((SEPARATOR + "\n").join([*texts, "old words"]).encode())
    outputs = tmp_path / "train", tmp_path / "valid"
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    mix_corpora((tmp_path / "a.txt",) * 2, (tmp_path / "b.txt",) * 2, outputs, share, None if share else 40)
    read = [document for name in ("a.txt", "b.txt") for document in iter_documents(tmp_path / name)]
    for document in iter_documents(outputs[0]):
        assert any(document.strip() in whole for whole in read)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_line_end_ends_a_line(tmp_path, ending):
    def collect(name, text, **options):
        (tmp_path / name).write_bytes(text.replace("\n", ending).encode())
        outputs = tmp_path / "train", tmp_path / "valid"
        collect_files([str(tmp_path / name)], [], *outputs, valid_fraction=0.3, **options)
        assert b"\r" not in outputs[0].read_bytes() + outputs[1].read_bytes()
        return sorted([*iter_documents(outputs[0]), *iter_documents(outputs[1])])

    assert collect("a.txt", f"\none\nline\n{SEPARATOR}\n\n two\n\n") == [" two", "one\nline"]
    assert collect("a.txt", "one\nline\n\n \ntwo\n\nthree", documents="blank_line") == ["one\nline", "three", "two"]
    assert collect("a.jsonl", '{"text": "one\\r\\nline\\r"}\n\n{"text": "two"}\n') == ["one\nline", "two"]
    with pytest.raises(MinlmError, match=r"a\.jsonl, line 3: not a JSON object"):
        collect("a.jsonl", '{"text": "one"}\n\n5\n')
    start, end = (f"*** {word} OF THE PROJECT GUTENBERG EBOOK X ***" for word in ("START", "END"))
    book = f"{start}\n\nOne line.\n{SEPARATOR}\nTwo.\n\n{end}\n"
    assert clean_book(book.replace("\n", ending), light=True)[0] == "One line.\n\nTwo."
    (tmp_path / "book.txt").write_bytes(("a b\n\n" * 10).replace("\n", ending).encode())
    (tmp_path / "other.txt").write_text("other words")
    pieces = build_ancients(
        [tmp_path / "book.txt", tmp_path / "other.txt"], tmp_path / "t", tmp_path / "v", min_words=3, max_words=5
    )
    assert sorted(piece.words for split in pieces.values() for piece in split) == [
        2,
        4,
        4,
        4,
        4,
        4,
    ]  # at paragraph ends


@pytest.mark.parametrize("mode", ["separator", "file", "blank_line"])
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("word " * 40_000, "a document|a line"),
        ("x" * 200_000, "a stretch without a space"),
        ("word\n" * 40_000, "a document|a paragraph"),
        (f"<|endof {SEPARATOR} " * 20_000, "a document|a line"),
    ],
    ids=["one line", "one word", "one paragraph", "many separators"],
)
def test_what_is_too_long_for_the_memory_is_a_clear_error(tmp_path, monkeypatch, mode, text, what):
    monkeypatch.setattr(documents, "MAX_DOCUMENT_BYTES", 100_000)
    monkeypatch.setattr(documents.read_blocks, "__defaults__", (10_000,))
    (tmp_path / "long.txt").write_text(text)
    (tmp_path / "v.txt").write_text("valid")
    arguments = [str(tmp_path / "long.txt")], [str(tmp_path / "v.txt")], tmp_path / "train", tmp_path / "valid"
    if mode == "separator" and SEPARATOR in text:
        assert collect_files(*arguments, documents=mode)["train"] > 1000
        return
    with pytest.raises(MinlmError, match=rf"long\.txt has ({what}) of more than 0\.0001 GB, the most that is held"):
        collect_files(*arguments, documents=mode)
    assert not (tmp_path / "train").exists()


def test_a_long_word_takes_no_longer_than_its_length(tmp_path):
    """64 MB without a space or line end, as text in Chinese may be."""
    path = tmp_path / "long.txt"
    path.write_bytes("道可道".encode() * 7_000_000)
    start = time.perf_counter()
    with open(path, "rb") as file:
        (block,) = [block for _, block in documents.read_blocks(file, path)]
    assert len(block) == 63_000_000
    assert time.perf_counter() - start < 10
