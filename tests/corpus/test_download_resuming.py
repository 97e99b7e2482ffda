"""Which servers let a download go on where it broke off, and what happens where a part must not be used."""

import hashlib
import mmap
import random

import pytest
from downloads import AFTER, BODY, SHA256, breaking, parts
from local_server import Answer, serve_file

from minlm.corpus import download as module
from minlm.corpus.download import CHUNK_BYTES, download
from minlm.errors import MinlmError

OTHER = BODY[::-1]


def ranges(server):
    return [request.headers.get("range") for request in server.requests]


def in_turn(server, *answers):
    """The first request goes to the first of these, and so on; the last one gets all others."""
    return lambda request: answers[min(len(server.requests), len(answers)) - 1](request)


@pytest.mark.parametrize("known", ["by the caller", "from the server"])
def test_a_checksum_alone_is_enough_to_go_on(server, tmp_path, known):
    linked = {"X-Linked-Etag": f'"{SHA256}"'} if known == "from the server" else {}
    server.answer = breaking(serve_file(BODY, None, **linked), AFTER, times=3)
    download(server.url, tmp_path / "file", "" if linked else SHA256)
    assert (tmp_path / "file").read_bytes() == BODY
    assert ranges(server) == [None, "bytes=131072-", "bytes=262144-", "bytes=393216-"]
    assert all("if-range" not in request.headers for request in server.requests)


def test_without_version_and_checksum_it_starts_over(server, tmp_path):
    server.answer = breaking(serve_file(BODY, None), AFTER, times=3)
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert ranges(server) == [None] * 4


def test_a_file_that_changed_unnoticed_is_found_by_its_checksum(server, tmp_path, caplog):
    caplog.set_level("INFO", "minlm")
    server.answer = in_turn(server, breaking(serve_file(OTHER, None), AFTER), serve_file(BODY, None))
    download(server.url, tmp_path / "file", SHA256)
    assert (tmp_path / "file").read_bytes() == BODY
    assert ranges(server) == [None, "bytes=131072-", None]
    assert "starting over" in caplog.text


def test_a_checksum_that_stays_wrong_ends_it(server, tmp_path):
    server.answer = breaking(serve_file(OTHER, None), AFTER)
    with pytest.raises(MinlmError, match=f"has SHA-256 .* instead of {SHA256}\\. It was deleted"):
        download(server.url, tmp_path / "file", SHA256)
    assert ranges(server) == [None, "bytes=131072-", None]
    assert parts(tmp_path) == []


@pytest.mark.parametrize("etag", ['"v1"', None])
@pytest.mark.parametrize(
    ("content_range", "status"),
    [
        (f"bytes 0-{len(BODY) - 1}/{len(BODY)}", 206),
        (f"bytes 131073-{len(BODY) - 1}/{len(BODY)}", 206),
        (f"bytes 131072-{len(BODY)}/{len(BODY) + 1}", 206),
        ("rubbish", 206),
        (None, 206),
        ("bytes */100", 416),
        ("bytes */²", 416),
        (None, 416),
        (None, 200),
    ],
)
def test_a_wrong_answer_to_a_range_makes_it_start_over(server, tmp_path, etag, content_range, status):
    headers = {"ETag": etag, "Content-Range": content_range and content_range.encode().decode("latin-1")}
    wrong = lambda request: Answer(b"" if status == 416 else BODY, status, headers)  # noqa: E731
    server.answer = in_turn(server, breaking(serve_file(BODY, etag), AFTER), wrong, serve_file(BODY, etag))
    download(server.url, tmp_path / "file", SHA256)
    assert (tmp_path / "file").read_bytes() == BODY
    assert ranges(server) == [None, "bytes=131072-"] + [None] * (status != 200)


def test_a_version_that_is_not_repeated_with_the_range(server, tmp_path):
    """An answer 206 to If-Range says that the version is the same."""
    nameless = serve_file(BODY, None)

    def rest(request):
        request.headers.pop("if-range")
        return nameless(request)

    server.answer = in_turn(server, breaking(serve_file(BODY), AFTER), rest)
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert ranges(server) == [None, "bytes=131072-"]


def test_ranges_shorter_than_asked_for(server, tmp_path):
    whole = serve_file(BODY)

    def some(request):
        answer = whole(request)
        if answer.status == 206:
            start = len(BODY) - len(answer.body)
            answer.body = answer.body[:100_000]
            answer.headers["Content-Range"] = f"bytes {start}-{start + len(answer.body) - 1}/{len(BODY)}"
        return answer

    server.answer = in_turn(server, breaking(whole, AFTER), some)
    download(server.url, tmp_path / "file", SHA256)
    assert (tmp_path / "file").read_bytes() == BODY
    assert len(server.requests) == 5


def test_a_complete_part_without_a_version(server, tmp_path):
    (tmp_path / ".file.part").write_bytes(BODY)
    (tmp_path / ".file.part.json").write_text(
        f'{{"url": "{server.url}", "validator": "", "size": {len(BODY)}, "sha256": ""}}'
    )
    server.answer = serve_file(BODY, None)
    download(server.url, tmp_path / "file", SHA256)
    assert ranges(server) == [f"bytes={len(BODY)}-"]


def test_a_packed_answer_is_not_continued(server, tmp_path):
    """Ranges of the packed form are no ranges of the file."""
    import gzip

    packed = serve_file(gzip.compress(BODY), **{"Content-Encoding": "gzip"})
    server.answer = breaking(packed, AFTER)
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert ranges(server) == [None, None]
    server.requests.clear()
    server.answer = breaking(packed, AFTER)
    download(server.url, tmp_path / "again", SHA256)
    assert (tmp_path / "again").read_bytes() == BODY
    assert len(server.requests) == 3


def ten_breaks(server, folder, size, etag):
    """A sparse file with some random bytes in it, through ten breaks."""
    with open(folder / "source", "wb+") as file:
        file.truncate(size)
        with mmap.mmap(file.fileno(), size) as body:
            rng = random.Random(0)
            for _ in range(1000):
                place = rng.randrange(size - 100)
                body[place : place + 100] = rng.randbytes(100)
            sha256 = hashlib.sha256(body).hexdigest()
            with memoryview(body) as view:
                server.answer = breaking(serve_file(view, etag), size // 11 // CHUNK_BYTES * CHUNK_BYTES, times=10)
                assert download(server.url, folder / "file", sha256) == size
                sent = [int((wanted or "bytes=0-")[6:-1]) for wanted in ranges(server)]
                assert sent == [size // 11 // CHUNK_BYTES * CHUNK_BYTES * i for i in range(11)]
                server.answer = None  # lets go of the view
    (folder / "source").unlink()


@pytest.mark.parametrize("etag", ['"v1"', None])
def test_ten_breaks(server, tmp_path, etag):
    ten_breaks(server, tmp_path, 3_000_000, etag)


@pytest.mark.slow
@pytest.mark.parametrize("etag", ['"v1"', None])
def test_two_gigabytes_in_ten_breaks(server, tmp_path, etag):
    ten_breaks(server, tmp_path, 2_300_000_000, etag)
    (tmp_path / "file").unlink()


def test_more_than_the_server_states(server, tmp_path):
    """Each answer is as long as it says, but together they are longer than the file."""
    whole = serve_file(BODY, None)

    def longer(request):
        rest = whole(request)
        rest.body += OTHER
        return rest

    server.answer = in_turn(server, breaking(whole, AFTER), longer, lambda request: Answer(status=404))
    with pytest.raises(MinlmError, match="404"):
        download(server.url, tmp_path / "file", SHA256)
    assert (tmp_path / ".file.part").stat().st_size <= len(BODY) + CHUNK_BYTES
    server.requests.clear()
    server.answer = in_turn(server, breaking(whole, AFTER), longer, breaking(whole, AFTER), longer)
    with pytest.raises(MinlmError, match=r"is longer than the 500,000 bytes that the server states\. It was deleted"):
        download(server.url, tmp_path / "file", SHA256)
    assert parts(tmp_path) == []


def test_a_file_of_unstated_size_has_a_limit(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_UNSTATED_BYTES", 200_000)
    server.answer = lambda request: Answer(BODY, headers={"Content-Length": None})
    with pytest.raises(MinlmError, match=r"is longer than 0\.0002 GB, the limit for a file of unstated size"):
        download(server.url, tmp_path / "file")
    assert parts(tmp_path) == []
    monkeypatch.setattr(module, "MAX_UNSTATED_BYTES", len(BODY))
    assert download(server.url, tmp_path / "file", SHA256) == len(BODY)
