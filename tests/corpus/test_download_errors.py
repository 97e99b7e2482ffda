"""Downloads that cannot succeed, or would give something else than was asked for."""

import errno
import os
import resource

import pytest
from downloads import AFTER, BODY, SHA256, breaking, parts
from local_server import Answer, serve_file

from minlm.corpus.download import download
from minlm.errors import MinlmError


def redirecting(server, linked):
    """As a dataset hub does: the first answer names checksum and size, another host has the bytes."""
    whole = serve_file(BODY)
    return lambda request: (
        whole(request)
        if request.path == "/cdn"
        else Answer(
            status=302,
            headers={"Location": f"{server.url}/cdn", "X-Linked-Etag": f'"{linked}"', "X-Linked-Size": str(len(BODY))},
        )
    )


def test_checksum_from_the_server(server, tmp_path):
    server.answer = redirecting(server, SHA256)
    download(server.url + "/resolve", tmp_path / "file")
    server.answer = redirecting(server, "0" * 64)
    with pytest.raises(MinlmError, match=f"SHA-256 {SHA256} instead of 0000"):
        download(server.url + "/resolve", tmp_path / "other")
    assert parts(tmp_path) == ["file"]
    server.answer = redirecting(server, "not-a-checksum")
    download(server.url + "/resolve", tmp_path / "other")


def test_wrong_checksum(server, tmp_path):
    server.answer = serve_file(BODY)
    with pytest.raises(MinlmError, match="SHA-256"):
        download(server.url, tmp_path / "file", "1" * 64)
    assert parts(tmp_path) == []
    with pytest.raises(MinlmError, match="64 hex digits"):
        download(server.url, tmp_path / "file", "123")


@pytest.mark.parametrize("claimed", [len(BODY) // 2, len(BODY) + 1000])
def test_wrong_length_claimed(server, tmp_path, claimed):
    """A file cut to a length that is claimed too small looks whole; only the checksum knows."""
    whole = serve_file(BODY)

    def answer(request):
        result = whole(request)
        result.headers["Content-Length"] = str(claimed)
        if claimed > len(BODY):
            result.break_after = len(BODY)
        return result

    server.answer = answer
    with pytest.raises(MinlmError, match="SHA-256" if claimed < len(BODY) else r"broke off|bytes long instead of"):
        download(server.url, tmp_path / "file", SHA256)
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "text/plain"])
def test_web_page_instead_of_the_file(server, tmp_path, content_type):
    """It must not cost us what had arrived before."""
    first = breaking(serve_file(BODY), AFTER)
    page = Answer(b"\n<!DOCTYPE html><html>Please log in</html>", headers={"Content-Type": content_type})
    server.answer = lambda request: first(request) if len(server.requests) == 1 else page
    with pytest.raises(MinlmError, match="web page"):
        download(server.url, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    server.answer = serve_file(BODY)
    server.requests.clear()
    download(server.url, tmp_path / "file", SHA256)
    assert server.requests[0].headers["range"] == "bytes=131072-"


def test_not_found(server, tmp_path):
    with pytest.raises(MinlmError, match="404"):
        download(server.url + "/missing", tmp_path / "file")
    assert len(server.requests) == 1
    assert not (tmp_path / "file").exists()


def test_unreachable(server, tmp_path):
    server.close()
    with pytest.raises(MinlmError, match="cannot reach"):
        download(server.url, tmp_path / "file")


@pytest.mark.parametrize("url", ["nonsense", "ftp://host/file"])
def test_bad_address(tmp_path, url, server):
    with pytest.raises(MinlmError):
        download(url, tmp_path / "file")


def test_disk_full(server, tmp_path, monkeypatch):
    server.answer = serve_file(BODY)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MinlmError, match="No space left"):
        download(server.url, tmp_path / "file", SHA256)
    assert not (tmp_path / "file").exists()


def test_file_too_large_for_the_disk(server, tmp_path):
    server.answer = serve_file(BODY)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (AFTER, limits[1]))
    try:
        with pytest.raises(MinlmError, match="too large"):
            download(server.url, tmp_path / "file", SHA256)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "file").exists()
    download(server.url, tmp_path / "file", SHA256)
    assert server.requests[-1].headers["range"] == "bytes=131072-"


def test_output_below_a_file(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MinlmError, match="cannot write"):
        download(server.url, tmp_path / "file" / "below")
    assert server.requests == []
