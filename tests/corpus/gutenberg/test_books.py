import csv

import pytest
from local_server import Answer

from minlm.corpus.gutenberg.books import decode, fetch_book
from minlm.errors import MinlmError
from minlm.scripts import fetch_book as program

QUOTES = "\u201cCaf\u00e9\u201d \u2014 na\u00efve"


@pytest.mark.parametrize(
    ("body", "declared", "text", "used"),
    [
        (b"plain\r\nlines\rall", "us-ascii", "plain\nlines\nall", "utf-8"),
        (QUOTES.encode(), "utf-8", QUOTES, "utf-8"),
        (b"\xef\xbb\xbf" + QUOTES.encode(), "", QUOTES, "utf-8"),
        (QUOTES.encode(), "iso-8859-1", QUOTES, "utf-8"),  # wrong label
        (QUOTES.encode(), "us-ascii", QUOTES, "utf-8"),
        ("caf\u00e9".encode("latin-1"), "iso-8859-1", "caf\u00e9", "iso8859-1"),
        ("caf\u00e9".encode("latin-1"), "utf-8", "caf\u00e9", "cp1252"),  # wrong label
        (QUOTES.encode("cp1252"), "iso-8859-1", QUOTES, "cp1252"),  # what Windows calls ISO-8859-1
        ("\u03b1\u03b2\u03b3".encode("iso-8859-7"), "ISO-8859-7", "\u03b1\u03b2\u03b3", "iso8859-7"),
        (b"\x81\xe9", "nonsense-9", "\x81\u00e9", "iso8859-1"),
        (QUOTES.encode() * 9 + b"\xff", "utf-8", QUOTES * 9 + "\ufffd", "utf-8 with invalid bytes"),
    ],
)
def test_decode(body, declared, text, used):
    assert decode(body, declared) == (text, used)


def test_decode_as_the_book_itself_says():
    text, used = decode(b"Character set encoding: ISO-8859-7\r\n\r\n\xe1\xe2\xe3", "utf-8")
    assert text.endswith("\n\n\u03b1\u03b2\u03b3")
    assert used == "iso8859-7"


@pytest.fixture
def table(server, tmp_path):
    path = tmp_path / "selection.csv"
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["gutenberg_id", "text_url", "charset", "other_texts", "kept"])
        rows.writerow([12, f"{server.url}/12.txt", "iso-8859-1", "", "yes"])
        rows.writerow([13, "", "", "", "no"])
        others = f"{server.url}/15-7.txt iso-8859-7; {server.url}/15-any.txt"
        rows.writerow([15, f"{server.url}/15-0.txt", "utf-8", others, "yes"])
    return path


def test_fetch(server, table, tmp_path):
    server.answer = lambda request: Answer(b"caf\xe9\r\n" if len(server.requests) == 3 else b"busy" * 100,
                                           status=[429, 500, 200][len(server.requests) - 1])  # fmt: skip
    output = tmp_path / "books" / "12.txt"
    assert "6 bytes of iso8859-1" in fetch_book(table, 12, output, 0)
    assert output.read_bytes() == "caf\u00e9\n".encode()
    assert not (tmp_path / "failed").exists()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(status=404), "404"),
        (Answer(status=503), "503"),
        (Answer(b"0123456789", break_after=5), "broke off"),
        (Answer(b"0123456789", break_after=5, reset=True), "broke off"),
        (Answer(b"short", headers={"Content-Length": "10000"}, break_after=5), "broke off"),
        (Answer(status=0), "no answer"),
        (Answer(b"<html>Log in</html>"), "web page"),
        (Answer(b"PK\x03\x04\0\0"), "something other than text"),
        (Answer(b""), "nothing"),
        (Answer(b" \r\n"), "nothing"),
    ],
)
def test_a_book_that_fails_for_good_is_recorded(server, table, tmp_path, answer, reason):
    server.answer = lambda request: answer
    output = tmp_path / "books" / "12.txt"
    assert "failed" in fetch_book(table, 12, output, 0)
    assert output.read_bytes() == b""
    record = tmp_path / "failed" / "12.txt"
    assert reason in record.read_text()
    assert "/12.txt" in record.read_text()

    server.answer = lambda request: Answer(b"text")
    fetch_book(table, 12, output, 0)
    assert output.read_bytes() == b"text"
    assert not record.exists()


HTML = Answer(b"<!DOCTYPE html><html>Log in</html>", headers={"Content-Type": "text/html"})
WHOLE = b"*** START OF THE PROJECT GUTENBERG EBOOK X ***\nOne. Two.\n*** END OF THE PROJECT GUTENBERG EBOOK X ***\n"


@pytest.mark.parametrize(
    "bad",
    [HTML, Answer(b"<html>busy</html>"), Answer(b""), Answer(WHOLE, headers={"Content-Length": "60"})],
    ids=["web page", "web page called text", "empty", "content-length too small"],
)
def test_an_answer_that_is_no_whole_text_is_asked_for_again(server, table, tmp_path, bad):
    server.answer = lambda request: bad if len(server.requests) < 3 else Answer(WHOLE)
    output = tmp_path / "books" / "12.txt"
    assert fetch_book(table, 12, output, 0) == f"{len(WHOLE)} bytes of utf-8 from {server.url}/12.txt"
    assert output.read_bytes() == WHOLE
    assert len(server.requests) == 3


@pytest.mark.parametrize("bad", [HTML, Answer(status=404), Answer(WHOLE[:60])], ids=["web page", "404", "cut off"])
def test_the_other_texts_of_a_book_are_tried(server, table, tmp_path, bad):
    greek = "*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\u03b1\u03b2\n*** END OF THE PROJECT GUTENBERG EBOOK X ***"
    server.answer = lambda request: Answer(greek.encode("iso-8859-7")) if request.path == "/15-7.txt" else bad
    output = tmp_path / "books" / "15.txt"
    assert "15-7.txt" in fetch_book(table, 15, output, 0)
    assert output.read_text() == greek
    tries = 1 if bad.status == 404 else 3
    assert [request.path for request in server.requests] == ["/15-0.txt"] * tries + ["/15-7.txt"]

    server.answer = lambda request: HTML
    assert "failed" in fetch_book(table, 15, output, 0)
    failed = (tmp_path / "failed" / "15.txt").read_text()
    assert all(
        f"/15-{name}.txt: the server sent a web page instead of the text" in failed for name in ("0", "7", "any")
    )


def test_a_book_without_the_marker_of_the_end_is_taken_if_there_is_no_other(server, table, tmp_path):
    server.answer = lambda request: Answer(WHOLE[:60]) if request.path == "/15-7.txt" else Answer(status=404)
    output = tmp_path / "books" / "15.txt"
    assert "seems to be cut off" in fetch_book(table, 15, output, 0)
    assert output.read_bytes() == WHOLE[:60]
    assert len(server.requests) == 1 + 3 + 1
    assert not (tmp_path / "failed").exists()


def test_no_network_is_no_fault_of_the_book(server, table, tmp_path):
    server.close()
    with pytest.raises(MinlmError, match="cannot reach"):
        fetch_book(table, 12, tmp_path / "books" / "12.txt", 0)
    assert not (tmp_path / "books").exists()


@pytest.mark.parametrize("number", [13, 14])
def test_not_selected(table, tmp_path, number):
    with pytest.raises(MinlmError, match=f"book {number} has no text"):
        fetch_book(table, number, tmp_path / "out.txt", 0)


def test_program(server, table, tmp_path, capfd):
    server.answer = lambda request: Answer(b"text")
    arguments = ["--selection", str(table), "--gutenberg_id", "12", "--request_delay", "0", "--output"]
    program.main([*arguments, str(tmp_path / "12.txt")])
    assert "4 bytes" in capfd.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        program.main([*arguments, str(table / "12.txt")])
    assert stopped.value.code == 1
    assert "cannot write" in capfd.readouterr().err
