"""`corpus.source: urls` from a local server with faults: all formats, in order, and nothing is fetched twice."""

import gzip
import hashlib
import io
import json
from urllib.parse import urlsplit

import pandas as pd
import pytest
from downloads import breaking
from local_server import Answer, Server, serve_file

CORPUS = ("data/corpus/train.txt", "data/corpus/valid.txt")


def texts(name: str) -> list[str]:
    return [f"{name} {number} " + "words and more " * 20_000 for number in range(3)]  # several reads of the network


def as_parquet(name: str) -> bytes:
    file = io.BytesIO()
    pd.DataFrame({"body": texts(name)}).to_parquet(file, compression=None)
    return file.getvalue()


def as_json(name: str) -> bytes:
    return gzip.compress(json.dumps([{"body": text} for text in texts(name)]).encode())


FILES = {
    "/d/z.parquet": as_parquet("z"),
    "/d/a%20b.json.gz": as_json("a b"),
    "/d/m.txt": "\n<|endoftext|>\n".join(texts("m")).encode(),
    "/e/m.txt": b"another m\n",
}


@pytest.fixture(scope="module")
def server():
    running = Server()
    faults = [Answer(status=503, headers={"Retry-After": "0"})]
    answers = {path: breaking(serve_file(body), 131_072) for path, body in FILES.items()}

    def answer(request):
        return faults.pop() if faults else answers[urlsplit(request.path).path](request)

    running.answer = answer
    yield running
    running.close()


@pytest.fixture(scope="module")
def checkout(new_checkout):
    return new_checkout()


def urls(server, *train, valid=()):
    entries = {
        "train": [{"url": server.url + path, "sha256": hashlib.sha256(FILES[path]).hexdigest()} for path in train],
        "valid": [server.url + path for path in valid],
    }
    return "--config", f"corpus={json.dumps({'source': 'urls', 'urls': entries, 'files': {'text_field': 'body'}})}"


def collected(checkout, split):
    documents = (checkout.folder / f"data/urls/{split}.txt").read_text().split("\n<|endoftext|>\n")[:-1]
    return [document[:20].partition(" words")[0] for document in documents]


def test_files_from_a_server_with_faults(checkout, server):
    wanted = urls(server, "/d/z.parquet", "/d/a%20b.json.gz", valid=["/d/m.txt"])
    output = checkout.run(*CORPUS, *wanted)
    assert collected(checkout, "train") == [f"{name} {number}" for name in ("z", "a b") for number in range(3)]
    assert collected(checkout, "valid") == [f"m {number}" for number in range(3)]
    assert output.count("] download_url ") == 3
    assert any("range" in request.headers for request in server.requests)  # went on after a break
    assert checkout.stale(*wanted, target=CORPUS[0]) == {}


def test_a_list_in_another_order_and_longer_downloads_what_is_new(checkout, server):
    before = len(server.requests)
    checkout.run(*CORPUS, *urls(server, "/e/m.txt", "/d/a%20b.json.gz", "/d/z.parquet", valid=["/d/m.txt"]))
    assert [request.path for request in server.requests[before:]] == ["/e/m.txt"]
    assert collected(checkout, "train")[:3] == ["another m", "a b 0", "a b 1"]


def test_a_wrong_checksum_and_an_address_twice(checkout, server):
    wrong = [{"url": f"{server.url}/e/m.txt", "sha256": "0" * 64}]
    config = f"corpus={json.dumps({'source': 'urls', 'urls': {'train': wrong}})}"
    output = checkout.run(*CORPUS, "--config", config, status=1)
    assert f"instead of {'0' * 64}" in output
    twice = f"corpus={json.dumps({'source': 'urls', 'urls': {'train': [server.url + '/a'] * 2}})}"
    assert "corpus.urls: " in (output := checkout.run("-n", "--config", twice, status=1))
    assert f"{server.url}/a is there twice" in output
    assert "corpus.urls.train: source is `urls`" in checkout.run("-n", "--config", "corpus={source: urls}", status=1)
