"""Text through the workflow up to the corpus, from a local server: nothing is fetched twice.

What re-runs behind the corpus is the same for all corpora (test_rerun.py).
"""

import hashlib
import json
from urllib.parse import urlsplit

import pytest
from checkout import Checkout
from local_server import Answer, Server

BOOKS = {11: 90, 12: 80, 13: 70, 14: 60}  # Gutenberg id → downloads
STORIES = b"Once upon a time.\n<|endoftext|>\n"
CORPUS = ("data/corpus/train.txt", "data/corpus/valid.txt")


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
    made.run(*CORPUS)
    return made


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
        "ancients={request_delay: 1}": set(),
        "ancients={share: 0.5}": {"mix"},
        "ancients={share: 0}": {"mix"},
        "corpus={target_total_words: 1500}": {"mix"},
        "ancients={min_words: 60}": {"build_ancients", "mix"},
        "ancients={keep_typography: true}": {"clean_book", "build_ancients", "mix"},
    }.items(),
)
def test_a_changed_value_re_runs_what_depends_on_it(checkout, change, expected):
    assert set(checkout.stale("--config", change, target=CORPUS[0])) == expected


def test_one_more_book_is_fetched_and_no_other(checkout, server):
    before = len(server.requests)
    output = checkout.run(*CORPUS, "--config", "ancients={max_books: 4}")
    fetched = [request.path for request in server.requests[before:]]
    assert fetched == ["/files/14-0.txt"]
    assert "] fetch_book 14 " in output
    assert "] fetch_book 11 " not in output
    assert output.count("] clean_book ") == 1

    output = checkout.run(*CORPUS)  # and back to three: nothing is fetched
    assert len(server.requests) == before + 1
    assert "] mix " in output


def test_stories_with_and_without_a_checksum_and_texts_under_another_key(new_checkout, server):
    """Two sources in one call: what the configuration says of them reaches their programs."""
    checkout = new_checkout()
    (checkout.folder / "texts/train.jsonl").write_text('{"body": "one", "text": "no"}\n{"body": "two"}\n')
    url, checksum = f"{server.url}/stories.txt", hashlib.sha256(STORIES).hexdigest()
    stories = f"{{train_url: '{url}', train_sha256: null, valid_url: '{url}', valid_sha256: {checksum}}}"
    output = checkout.run(
        "data/tinystories/train.txt", "data/tinystories/valid.txt", "data/files/train.txt", "--config",
        f"corpus={{tinystories: {stories}, files: {{train: [texts/train.jsonl], text_field: body}}}}",
        "--printshellcmds",
    )  # fmt: skip
    assert f"--sha256={checksum}" in output
    for split in ("train", "valid"):
        assert (checkout.folder / f"data/tinystories/{split}.txt").read_bytes() == STORIES
    assert (checkout.folder / "data/files/train.txt").read_text() == "one\n<|endoftext|>\ntwo\n<|endoftext|>\n"
