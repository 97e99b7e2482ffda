import json
import random
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minlm.corpus.mix import mark_words, mix_corpora, mix_files, scan
from minlm.documents import SEPARATOR, iter_documents, write_document
from minlm.errors import MinlmError
from minlm.scripts import mix as program

WORD = re.compile(r"\b\w+\b")


def words_of(documents):
    return sum(len(WORD.findall(document)) for document in documents)


def write(path, documents):
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        for document in documents:
            write_document(out, document)
    return path


def corpus(path, name, count, words, seed=0):
    """`count` documents of about `words` words each, all of them beginning with `name` and a number."""
    rng = random.Random(seed)
    documents = [f"{name} {i} " + "w. " * rng.randrange(words // 2, words * 3 // 2) for i in range(count)]
    write(path, [document.rstrip() for document in documents])
    return path


@given(st.text(st.sampled_from("aZ09_ ,.'\n\u00e9\u4e2d\u0301\u2019\u00b2\u0661😀"), max_size=80))
def test_words_begin_where_they_do_for_the_regular_expression(text):
    expected = [len(text[: match.start()].encode()) for match in WORD.finditer(text)]
    assert np.flatnonzero(mark_words(text.encode())).tolist() == expected


@settings(max_examples=50)
@given(
    st.lists(st.text(st.sampled_from("ab é\n,"), max_size=30), max_size=12),
    st.integers(1, 40),
    st.booleans(),
)
def test_scan_finds_documents_and_words(tmp_path_factory, texts, block_bytes, ends_with_separator):
    path = tmp_path_factory.mktemp("scan") / "corpus.txt"
    path.write_text((SEPARATOR + "\n").join(texts) + (SEPARATOR if ends_with_separator else ""), newline="\n")
    data = path.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minlm.documents.read_blocks.__defaults__", (block_bytes,))
        spans = scan(path)
    found = [data[start : start + size].decode() for start, size in zip(spans.offset, spans.length, strict=True)]
    assert [text.strip() for text in found] == [d.strip() for d in iter_documents(path) if WORD.search(d)]
    assert spans.words.tolist() == [len(WORD.findall(text)) for text in found]


def test_share_zero_copies(tmp_path):
    base = write(tmp_path / "base.txt", ["one", "two\n\nthree"]), tmp_path / "odd.txt"
    base[1].write_bytes(b"no marker, CRLF\r\n at all")
    outputs = tmp_path / "o" / "train.txt", tmp_path / "o" / "valid.txt"
    mix_corpora(base, None, outputs, share=0)
    assert [output.read_bytes() for output in outputs] == [path.read_bytes() for path in base]


@pytest.mark.parametrize("share", [0.1, 0.4, 0.9])
@pytest.mark.parametrize(("base_documents", "ancient_documents"), [(300, 200), (600, 20), (20, 500)])
@pytest.mark.parametrize("target", [None, 3_000, 50_000])
def test_share_size_and_order(tmp_path, share, base_documents, ancient_documents, target):
    base = corpus(tmp_path / "base.txt", "base", base_documents, 40)
    ancients = corpus(tmp_path / "ancients.txt", "old", ancient_documents, 100)
    both = words_of(iter_documents(base)) + words_of(iter_documents(ancients))
    mixture = mix_files(base, ancients, tmp_path / "out.txt", share, target, seed=1)
    documents = list(iter_documents(tmp_path / "out.txt"))
    old = np.array([document.startswith("old") for document in documents])
    words = np.array([len(WORD.findall(document)) for document in documents])

    assert abs(words.sum() / (target or both) - 1) < 0.01
    assert abs(words[old].sum() / words.sum() - share) < 0.005
    assert mixture.documents == len(documents)
    assert mixture.ancient_words == words[old].sum()
    assert mixture.base_words == words[~old].sum()

    # Evenly: up to any document, the share is what it should be, within the largest document of each source.
    expected, actual = np.cumsum(words) * share, np.cumsum(words * old)
    assert np.abs(expected - actual).max() <= 2 * 150

    # No document is repeated more than once more than another of its source.
    for name, number in (("base", base_documents), ("old", ancient_documents)):
        times = Counter(int(document.split()[1]) for document in documents if document.startswith(name))
        counts = [times[i] for i in range(number)]
        assert max(counts) - min(counts) <= 1


def test_documents_are_unchanged_and_seeded(tmp_path):
    base = corpus(tmp_path / "base.txt", "base", 50, 20)
    ancients = corpus(tmp_path / "ancients.txt", "old", 50, 20)
    originals = [*iter_documents(base), *iter_documents(ancients)]
    outputs = [tmp_path / f"out{i}.txt" for i in range(3)]
    for output, seed in zip(outputs, (0, 0, 1), strict=True):
        mix_files(base, ancients, output, 0.3, None, seed)
    assert outputs[0].read_bytes() == outputs[1].read_bytes() != outputs[2].read_bytes()
    cut = [document for document in iter_documents(outputs[0]) if document not in originals]
    assert len(cut) <= 2
    assert all(any(whole.startswith(part) for whole in originals) for part in cut)


def test_target_of_both_files(tmp_path):
    paths = [corpus(tmp_path / f"{i}.txt", "name", 200, 50, seed=i) for i in range(4)]
    outputs = tmp_path / "train.txt", tmp_path / "valid.txt"
    mix_corpora((paths[0], paths[1]), (paths[2], paths[3]), outputs, 0.4, target_total_words=8000)
    train, valid = (words_of(iter_documents(output)) for output in outputs)
    assert abs(train - 7600) < 20
    assert abs(valid - 400) < 20


def test_share_one_and_share_zero_with_a_target(tmp_path):
    base = corpus(tmp_path / "base.txt", "base", 50, 20)
    ancients = corpus(tmp_path / "ancients.txt", "old", 50, 20)
    mix_files(base, ancients, tmp_path / "one.txt", 1, None, 0)
    assert list(iter_documents(tmp_path / "one.txt")) == list(iter_documents(ancients))
    mix_files(base, None, tmp_path / "zero.txt", 0, 300, 0)
    documents = list(iter_documents(tmp_path / "zero.txt"))
    assert words_of(documents) == 300
    assert all(document.startswith("base") for document in documents)


def test_one_giant_document(tmp_path, monkeypatch):
    monkeypatch.setattr("minlm.corpus.mix.BLOCK_BYTES", 1000)
    giant = " ".join(f"word{i}\u2019s.\n" if i % 7 == 0 else f"word{i}" for i in range(20_000)).rstrip()
    base = write(tmp_path / "base.txt", [giant])
    ancients = corpus(tmp_path / "ancients.txt", "old", 30, 50)
    total = words_of([giant]) + words_of(iter_documents(ancients))
    mix_files(base, ancients, tmp_path / "out.txt", 0.4, None, 0)
    documents = list(iter_documents(tmp_path / "out.txt"))
    (part,) = [document for document in documents if not document.startswith("old")]
    assert giant.startswith(part)
    assert abs(words_of([part]) / total - 0.6) < 0.005
    assert abs(words_of(documents) / total - 1) < 0.01
    mix_files(base, ancients, tmp_path / "out.txt", 0.1, 100_000, 0)
    assert sum(document.startswith(giant) for document in iter_documents(tmp_path / "out.txt")) == 3


def test_validation_text_is_read_as_often_as_it_must_be_and_no_more(tmp_path):
    """The sizes of a real run: 46,731 words of stories and 72,228 of books, in hundreds. 60 % of both together are
    1.53 times the stories there are, so some of them must come twice, and none three times.
    """
    base = corpus(tmp_path / "base.txt", "base", 20, 24)
    ancients = corpus(tmp_path / "old.txt", "old", 6, 120)
    words = {name: words_of(iter_documents(path)) for name, path in (("base", base), ("old", ancients))}
    outputs = tmp_path / "train.txt", tmp_path / "valid.txt"
    valid = mix_corpora((base, base), (ancients, ancients), outputs, 0.4)["valid"]
    needed = {"base": 0.6 * sum(words.values()), "old": 0.4 * sum(words.values())}
    assert valid.base_passes == pytest.approx(needed["base"] / words["base"], rel=0.01)
    assert valid.ancient_passes == pytest.approx(needed["old"] / words["old"], rel=0.01)
    assert 1 < valid.base_passes < 2
    assert valid.ancient_passes < 1
    times = Counter(tuple(document.split()[:2]) for document in iter_documents(outputs[1]))
    assert max(times.values()) == 2
    assert max(count for key, count in times.items() if key[0] == "old") == 1

    # With a target that fits, nothing is repeated.
    small = mix_corpora((base, base), (ancients, ancients), outputs, 0.4, target_total_words=sum(words.values()))
    assert max(Counter(iter_documents(outputs[1])).values()) == 1
    assert small["valid"].base_passes < 1


@pytest.mark.parametrize("words", range(1, 12))
def test_a_document_is_cut_after_a_sentence(tmp_path, words):
    base = write(tmp_path / "base.txt", ['He came. "Who saw him?" asked she\nat once! No one\n\nIt was dark and'])
    mix_files(base, None, tmp_path / "out.txt", 0, words, 0)
    (found,) = iter_documents(tmp_path / "out.txt")
    whole = "".join(iter_documents(base))
    ends = [whole, "He came.", 'He came. "Who saw him?"', 'He came. "Who saw him?" asked she\nat once!']
    sizes = [0, 2, 5, 9, 11]
    assert found == [*ends, f"{ends[-1]} No one"][max(i for i, size in enumerate(sizes) if size <= words)]


def test_many_passes_are_recorded_and_reported(tmp_path, caplog):
    base = corpus(tmp_path / "base.txt", "base", 30, 20)
    few = corpus(tmp_path / "old.txt", "old", 3, 20)
    outputs, record = (tmp_path / "train.txt", tmp_path / "valid.txt"), tmp_path / "mixture.json"
    mix_corpora((base, base), (few, few), outputs, 0.4, record=record)
    train = json.loads(record.read_text())["train"]
    assert train[str(few)]["passes"] > 4 > train[str(base)]["passes"]
    shown = caplog.text
    assert f"contains each document of {few} {train[str(few)]['passes']:.1f} times" in shown
    assert f"contains each document of {base}" not in shown


def test_bad_input(tmp_path):
    good, empty = write(tmp_path / "good.txt", ["some words"]), tmp_path / "empty.txt"
    empty.write_text(f"\n{SEPARATOR}\n")
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"caf\xe9")
    outputs = tmp_path / "o" / "train.txt", tmp_path / "o" / "valid.txt"
    for share, base, ancients, problem in [
        (0.5, good, empty, r"empty\.txt contains no words"),
        (0.5, empty, good, r"empty\.txt contains no words"),
        (0, empty, good, r"empty\.txt contains no text"),
        (0, latin, good, "offset 3"),
        (0.5, latin, good, "offset 3"),
    ]:
        with pytest.raises(MinlmError, match=problem):
            mix_corpora((base, base), (ancients, ancients), outputs, share)
        assert not outputs[0].exists()
    with pytest.raises(MinlmError, match="no ancient books are given"):
        mix_corpora((good, good), None, outputs, 0.5)
    with pytest.raises(MinlmError, match="between 0 and 1"):
        mix_corpora((good, good), None, outputs, 1.5)
    with pytest.raises(MinlmError, match="target_total_words"):
        mix_corpora((good, good), None, outputs, 0, target_total_words=0)


def test_program(tmp_path, capfd):
    good = write(tmp_path / "good.txt", ["some words"])
    arguments = ["--base_train", good, "--base_valid", good, "--output_train", tmp_path / "t", "--output_valid"]
    program.main(list(map(str, [*arguments, tmp_path / "v"])))
    assert (tmp_path / "v").read_bytes() == good.read_bytes()
    for wrong, problem in (([good / "v"], "cannot write"), ([tmp_path / "v", "--share", 0.4], "ancient")):
        with pytest.raises(SystemExit) as stopped:
            program.main(list(map(str, [*arguments, *wrong])))
        assert stopped.value.code == 1
        assert problem in capfd.readouterr().err
