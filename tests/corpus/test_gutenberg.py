import csv

import pytest
from local_server import Answer

from minlm.corpus.gutenberg import decode, fetch_book
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
        (QUOTES.encode() * 9 + b"\xff", "utf-8", QUOTES * 9 + "\ufffd", "utf-8 with broken characters"),
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
        rows.writerow(["gutenberg_id", "text_url", "charset", "kept"])
        rows.writerow([12, f"{server.url}/12.txt", "iso-8859-1", "yes"])
        rows.writerow([13, "", "", "no"])
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
        (Answer(b"PK\x03\x04\0\0"), "something else than text"),
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
