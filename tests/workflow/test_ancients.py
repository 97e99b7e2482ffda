"""Ancient books through the workflow, against a local catalog: nothing is fetched twice."""

import hashlib
import json
from urllib.parse import urlsplit

import pytest
from checkout import Checkout
from local_server import Answer, Server

BOOKS = {11: 90, 12: 80, 13: 70, 14: 60}  # Gutenberg id → downloads
STORIES = b"Once upon a time.\n<|endoftext|>\n"
TRAINED = {"train", "sample"}
MIXED = {"mix", "count_words", "train_tokenizer", "tokenize"} | TRAINED


def entry(server: Server, number: int, downloads: int) -> dict:
    return {
        "id": number,
        "title": f"Work {number}",
        "authors": [{"name": "Anon", "birth_year": -100, "death_year": -50}],
        "translators": [],
        "subjects": [],
        "bookshelves": [],
        "languages": ["en"],
        "copyright": False,
        "media_type": "Text",
        "formats": {"text/plain; charset=utf-8": f"{server.url}/files/{number}-0.txt"},
        "download_count": downloads,
    }


def book_text(number: int) -> str:
    paragraph = f"In the days of king {number} the city was at peace, and the people went up to the hill. " * 4
    body = "\r\n\r\n".join([paragraph] * 20)
    return (
        f"The Project Gutenberg eBook of Work {number}\r\n\r\n*** START OF THE PROJECT GUTENBERG EBOOK WORK ***\r\n\r\n"
        f"{body}\r\n\r\n*** END OF THE PROJECT GUTENBERG EBOOK WORK ***\r\nLicence.\r\n"
    )


@pytest.fixture(scope="module")
def server():
    running = Server()

    def answer(request):
        path = urlsplit(request.path).path
        if path == "/books/":
            results = [entry(running, number, downloads) for number, downloads in BOOKS.items()]
            page = {"count": len(results), "next": None, "previous": None, "results": results}
            return Answer(json.dumps(page).encode(), headers={"Content-Type": "application/json"})
        if path == "/stories.txt":
            return Answer(STORIES, headers={"Content-Type": "text/plain"})
        number = int(path.removeprefix("/files/").removesuffix("-0.txt"))
        return Answer(book_text(number).encode(), headers={"Content-Type": "text/plain; charset=utf-8"})

    running.answer = answer
    yield running
    running.close()


@pytest.fixture(scope="module")
def checkout(server, tmp_path_factory):
    """A checkout with three ancient books in its samples."""
    made = Checkout(tmp_path_factory.mktemp("ancients"))
    configuration = made.folder / "config.yaml"
    configuration.write_text(
        configuration.read_text()
        + f"ancients: {{share: 0.4, gutendex_url: '{server.url}/books/', request_delay: 0, max_books: 3,"
        " min_words: 50, max_words: 100, valid_fraction: 0.3}\n"
    )
    made.run("results/samples.txt")
    return made


def stale(checkout, change=None):
    return set(checkout.stale(*(["--config", change] if change else []), target="results/samples.txt"))


def test_books_reach_the_corpus_without_their_wrapping(checkout):
    corpus = (checkout.folder / "data/corpus/train.txt").read_text()
    assert "the city was at peace" in corpus
    assert "the cat sat on the mat" in corpus
    assert "Gutenberg" not in corpus
    assert sorted(path.name for path in (checkout.folder / "data/ancients/clean").iterdir()) == [
        "11.txt", "12.txt", "13.txt",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    {
        None: set(),
        "ancients={share: 0.5}": MIXED,
        "corpus={target_total_words: 1500}": MIXED,
        "ancients={request_delay: 1}": set(),
        "ancients={min_words: 60}": {"build_ancients"} | MIXED,
        "ancients={keep_typography: true}": {"clean_book", "build_ancients"} | MIXED,
        "ancients={share: 0}": MIXED,
    }.items(),
)
def test_a_changed_value_re_runs_what_depends_on_it(checkout, change, expected):
    assert stale(checkout, change) == expected


def test_one_more_book_is_fetched_and_no_other(checkout, server):
    before = len(server.requests)
    output = checkout.run("results/samples.txt", "--config", "ancients={max_books: 4}")
    fetched = [request.path for request in server.requests[before:]]
    assert fetched == ["/files/14-0.txt"]
    assert "Fetching book 14." in output
    assert "Fetching book 11." not in output
    assert output.count("Cleaning book") == 1

    checkout.run("data/corpus/train.txt")  # and back to three: nothing is fetched
    assert len(server.requests) == before + 1
    checkout.run("results/samples.txt")
    assert stale(checkout) == set()


@pytest.mark.parametrize("sha256", ["null", hashlib.sha256(STORIES).hexdigest()])
def test_stories_are_downloaded_with_or_without_a_checksum(checkout, server, sha256):
    stories = checkout.folder / "data/tinystories/valid.txt"
    change = f"corpus={{tinystories: {{valid_url: '{server.url}/stories.txt', valid_sha256: {sha256}}}}}"
    checkout.run("data/tinystories/valid.txt", "--config", change)
    assert stories.read_bytes() == STORIES
    stories.unlink()
