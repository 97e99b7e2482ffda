"""Which books are kept, why the others are not, and the table that says so."""

import csv
import json

import pytest
from gutendex_pages import book, pages, person

from minlm.corpus.gutenberg.catalog import read_catalog
from minlm.corpus.gutenberg.selection import COLUMNS, choose_texts, select, write_selection
from minlm.errors import MinlmError
from minlm.scripts import catalog, selection


def reasons(books, **options):
    options = {"author_year_end": 500, **options}
    return {choice.book["id"]: (choice.kept, choice.reason) for choice in select(books, **options)}


@pytest.mark.parametrize(
    ("authors", "kept"),
    [
        ([person("A", 100, 180)], True),
        ([person("A", 100, 500)], True),
        ([person("A", 450, 501)], False),
        ([person("A", -70, None)], True),
        ([person("A", 501, None)], False),
        ([person("A", None, -5)], True),
        ([person("A", 100, 180), person("B", 1600, 1680)], False),
        ([person("A", 100, 180), person("B")], False),
        ([person("A")], False),
        ([], False),
    ],
)
def test_every_author_must_be_ancient(authors, kept):
    assert reasons([book(1, authors=authors)])[1][0] is kept


@pytest.mark.parametrize(
    "changes",
    [
        {"copyright": True},
        {"copyright": None},
        {"media_type": "Sound"},
        {"formats": {}},
        {"formats": {"text/plain": "http://host/1.zip"}},
    ],
)
def test_dropped(changes):
    assert reasons([book(1, **changes)])[1][0] is False


UTF8, ASCII, LATIN, PLAIN = (
    "text/plain; charset=utf-8",
    "text/plain; charset=us-ascii",
    "text/plain; charset=iso-8859-1",
    "text/plain",
)


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        ({UTF8: "h/a-0.txt", ASCII: "h/a.txt", LATIN: "h/a-8.txt"}, ("h/a-0.txt", "utf-8")),
        ({ASCII: "h/a.txt", LATIN: "h/a-8.txt"}, ("h/a.txt", "us-ascii")),
        ({LATIN: "h/a-8.txt"}, ("h/a-8.txt", "iso-8859-1")),
        ({ASCII: "h/a.txt", PLAIN: "h/a.txt.utf-8"}, ("h/a.txt.utf-8", "utf-8")),
        ({UTF8: "h/a-0.zip", LATIN: "h/a-8.txt"}, ("h/a-8.txt", "iso-8859-1")),
        ({PLAIN: "h/a.txt", LATIN: "h/a-8.txt"}, ("h/a-8.txt", "iso-8859-1")),
        ({PLAIN: "h/a.txt"}, ("h/a.txt", "")),
        ({UTF8: "h/a-0.txt.zip", ASCII: "h/a.htm", PLAIN: "h/a-readme.txt"}, ("", "")),
        ({"text/html": "h/a.txt"}, ("", "")),
        ({'text/plain; charset="UTF-8"': "h/A.TXT?x=1"}, ("h/A.TXT?x=1", "utf-8")),
    ],
)
def test_best_text(formats, expected):
    full = {mime: url.replace("h/", "http://host/") for mime, url in formats.items()}
    best = next(iter(choose_texts(full)), ("", ""))
    assert best == (expected[0].replace("h/", "http://host/"), expected[1])


def test_all_texts_the_best_first():
    formats = {
        LATIN: "http://host/a-8.txt",
        UTF8: "http://host/a.zip",
        ASCII: "http://host/a.txt",
        PLAIN: "http://host/b.txt",
    }
    assert choose_texts(formats) == [
        ("http://host/a.txt", "us-ascii"), ("http://host/a-8.txt", "iso-8859-1"), ("http://host/b.txt", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("The Iliad", "THE ILIAD.", True),
        ("The Iliad", "The Iliad: Done into English Prose", True),
        ("Plutarch's Lives", "Plutarch\u2019s Lives; a selection", True),
        ("The Iliad", "The Odyssey", False),
        ("Histories: Volume 1", "Histories: Volume 2", False),
        ("Histories, Books I-III", "Histories, Books IV-V", False),
    ],
)
def test_versions_of_a_work(first, second, same):
    found = reasons([book(1, first, downloads=5), book(2, second, downloads=50)])
    assert found[2][0]
    assert found[1] == ((False, "another version of 2") if same else (True, found[1][1]))
    other = book(1, first, authors=[person("Virgil", -70, -19)])
    assert reasons([other, book(2, second)])[1][0]


def test_include_exclude_and_max_books():
    modern = [person("Shakespeare", 1564, 1616)]
    books = [book(n, f"Work {'abcdefgh'[n]}", downloads=100 - n) for n in range(6)] + [
        book(9, "Work a", authors=modern)
    ]
    kept = lambda **options: {n for n, (is_kept, _) in reasons(books, **options).items() if is_kept}  # noqa: E731
    assert kept() == set(range(6))
    assert kept(max_books=2) == {0, 1}
    assert kept(max_books=2, exclude=[0]) == {1, 2}
    assert kept(max_books=2, include=[9]) == {9, 0}
    assert kept(include=[5, 4], max_books=1) == {4, 5}
    assert kept(include=[3], exclude=[3]) == {0, 1, 2, 4, 5}
    with pytest.raises(MinlmError, match=r"does not have: \[77\]"):
        kept(include=[77])
    no_text = [book(1, formats={}), book(2, "Other")]
    assert reasons(no_text, include=[1])[1] == (False, "no usable plain text")


def test_an_included_version_displaces_the_popular_one():
    books = [book(1, downloads=50), book(2, downloads=5)]
    assert reasons(books, include=[2]) == {1: (False, "another version of 2"), 2: (True, "included by id")}


def test_selection_table(tmp_path):
    books = [
        book(
            1,
            'A "Title",\r\nin two lines',
            translators=[person("Pope, Alexander", 1688, 1744)],
            languages=["en", "la"],
            formats={UTF8: "http://host/1-0.txt", LATIN: "http://host/1-8.txt", PLAIN: "http://host/1.txt"},
        ),
        book(2, "Other", copyright=True),
    ]
    source = tmp_path / "catalog.jsonl"
    source.write_text("".join(json.dumps(entry) + "\n" for entry in books))
    write_selection(source, tmp_path / "s.csv", 500, None, [], [], "data/books", "http://none.invalid", 0)
    with open(tmp_path / "s.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0] | {"reason": ""} == {
        "gutenberg_id": "1",
        "title": 'A "Title", in two lines',
        "authors": "Homer",
        "translators": "Pope, Alexander",
        "languages": "en; la",
        "download_count": "10",
        "subjects": "Epic poetry",
        "bookshelves": "",
        "text_url": "http://host/1-0.txt",
        "charset": "utf-8",
        "other_texts": "http://host/1-8.txt iso-8859-1; http://host/1.txt",
        "local_path": "data/books/1.txt",
        "kept": "yes",
        "reason": "",
    }
    assert (rows[1]["kept"], rows[1]["reason"], rows[1]["local_path"]) == ("no", "not in the public domain", "")
    with pytest.raises(MinlmError, match="none of the 2 books"):
        write_selection(source, tmp_path / "none.csv", -9999, None, [], [], "data/books", "http://none.invalid", 0)
    source.write_text(source.read_text() + "{}\n")
    with pytest.raises(MinlmError, match="line 3"):
        read_catalog(source)


def test_programs(server, tmp_path, capfd):
    undated = [book(10 + n, authors=[person(f"Nobody {n}")]) for n in range(2)]
    books = [book(n, f"Work {'abcdefghij'[n]}", copyright=n % 2 == 1) for n in range(10)]
    server.answer = pages(server, books + undated)
    path, table = str(tmp_path / "catalog.jsonl"), str(tmp_path / "selection.csv")
    catalog.main(["--gutendex_url", f"{server.url}/books/", "--request_delay", "0", "--output", path])
    selection.main(["--catalog", path, "--output", table, "--max_books", "3"])
    shown = capfd.readouterr().err
    assert "12 books" in shown
    assert "3 of 12 books kept" in shown
    assert "2 no dates" in shown
    assert "5 not in the public domain" in shown
    assert "2 beyond max_books" in shown
    for main, arguments, status in (
        (catalog.main, ["--gutendex_url", "nonsense", "--output", f"{path}2"], 2),
        (selection.main, ["--catalog", path, "--output", f"{path}/below"], 1),
        (selection.main, ["--catalog", f"{path}3", "--output", table], 1),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == status
        assert len(capfd.readouterr().err.splitlines()) == status  # argparse also names --help


HOMER, PLATO = [person("Homer", -750, -650)], [person("Plato", -428, -348)]
AURELIUS = [person("Marcus Aurelius, Emperor of Rome", 121, 180)]


@pytest.mark.parametrize(
    ("authors", "titles"),
    [
        (HOMER, ["The Iliad", "The Iliad of Homer", "Iliad", "ILIAD", "Homer's Iliad", "The Iliad; done into English"]),
        (HOMER, ["The Odyssey of Homer, translated into verse", "Odyssey (1900)", "The Odyssey by Homer"]),
        (HOMER, ["The \u00c6thiopis", "Aethiopis", "\u00c6thiopis: A Fragment"]),
        (AURELIUS, ["Meditations", "The Meditations of the Emperor Marcus Aurelius", "Meditations of Marcus Aurelius"]),
        (HOMER, ["L'H\u00e9cube", "L'Hecube"]),
    ],
)
def test_titles_of_one_work(authors, titles):
    books = [book(i, title, authors, downloads=100 - i) for i, title in enumerate(titles, start=1)]
    decided = reasons(books)
    assert [number for number, (kept, _) in decided.items() if kept] == [1]
    assert {reason for kept, reason in decided.values() if not kept} == {"another version of 1"}


def test_other_works_are_no_versions():
    titles = ["The Iliad", "The Odyssey", "A Life", "The Life of Homer in Chios", "Plays, Volume 1", "Plays, Volume 2"]
    assert all(kept for kept, _ in reasons([book(i, title, HOMER) for i, title in enumerate(titles)]).values())
    assert all(kept for kept, _ in reasons([book(1, "Apology", PLATO), book(2, "Apology", HOMER)]).values())


@pytest.mark.parametrize("first", [0, 1])
def test_of_overlapping_collections_the_most_downloaded_is_kept(first):
    titles = ["Apology", "Apology, Crito, and Phaedo of Socrates", "Works and Days"]
    books = [book(i, title, PLATO, downloads=20 if i == first else 10) for i, title in enumerate(titles)]
    decided = reasons(books)
    assert decided[first][0]
    assert decided[2][0]
    assert decided[1 - first] == (False, f"in part the same as {first}")
    assert reasons(books, include=[0, 1])[1 - first][0]


def test_included_books_that_the_catalog_lacks_come_from_the_server(server, tmp_path):
    source = tmp_path / "catalog.jsonl"
    source.write_text(json.dumps(book(1, "Iliad")) + "\n")
    anonymous = [book(number, f"Work {number}", authors=[]) for number in (348, 2017)]
    server.answer = pages(server, anonymous)
    write_selection(source, tmp_path / "s.csv", 500, None, [348, 1, 2017], [], "b", f"{server.url}/books/", 0)
    assert [request.path for request in server.requests] == ["/books/?ids=348,2017"]
    with open(tmp_path / "s.csv", newline="", encoding="utf-8") as file:
        rows = {row["gutenberg_id"]: (row["kept"], row["reason"]) for row in csv.DictReader(file)}
    assert rows == dict.fromkeys(["1", "348", "2017"], ("yes", "included by id"))
    with pytest.raises(MinlmError, match=r"the server does not have: \[9\]"):
        write_selection(source, tmp_path / "s.csv", 500, None, [348, 9], [], "b", f"{server.url}/books/", 0)
