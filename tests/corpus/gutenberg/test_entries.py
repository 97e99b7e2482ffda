"""An odd entry of the catalog is left out with its reason and never affects the others."""

import csv
import json

import pytest
from gutendex_pages import book, make_catalog, pages, person
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local_server import Answer

from minlm.corpus.gutenberg.catalog import read_catalog
from minlm.corpus.gutenberg.entries import parse_foreign_json
from minlm.corpus.gutenberg.selection import choose_texts, write_selection
from minlm.errors import MinlmError

# What real entries hold: years that are unknown, BCE; several texts, one of them an archive; two translators.
SOUND = [
    book(6130, "The Iliad", downloads=15132, formats={
        "text/plain; charset=iso-8859-1": "http://www.gutenberg.org/files/6130/6130-8.txt",
        "text/plain": "http://www.gutenberg.org/ebooks/6130.txt.utf-8",
        "application/zip": "http://www.gutenberg.org/files/6130/6130.zip",
    }),
    book(1497, "The Republic", [person("Plato", -428, -348)], 10147, translators=[person("Jowett", 1817, 1893)]),
    book(2680, "Meditations", [person("Marcus Aurelius, Emperor of Rome", 121, 180)], 4033, subjects=[]),
    book(785, "On the Nature\r\nof Things", [person("Lucretius Carus, Titus", -95, None)], 742),
]  # fmt: skip
DEEP = "[" * 50_000 + "]" * 50_000


def served(server, texts, count=None):
    """One page with entries given as JSON."""
    page = f'{{"count": {len(texts) if count is None else count}, "next": null, "results": [{",".join(texts)}]}}'
    server.answer = lambda request: Answer(page.encode("utf-8", "surrogatepass"))
    server.requests.clear()


def selected(server, folder):
    """Catalog and selection as the workflow makes them: id → row."""
    (folder / "catalog.jsonl").unlink(missing_ok=True)
    make_catalog(server, folder / "catalog.jsonl")
    write_selection(
        folder / "catalog.jsonl", folder / "selection.csv", 500, None, [], [], "data/books", "http://none.invalid", 0
    )
    with open(folder / "selection.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({row["gutenberg_id"] for row in rows}) == len(rows)
    return {row["gutenberg_id"]: row for row in rows}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"authors": ...}, "no author given"),
        ({"authors": None}, "no author given"),
        ({"authors": "Homer"}, "odd entry (authors is not a list of people with years)"),
        ({"authors": ["Homer"]}, "odd entry (authors is not a list of people with years)"),
        ({"authors": [{}]}, "odd entry (authors is not a list of people with years)"),
        ({"authors": [person("Homer", "-750", "-650")]}, "odd entry (authors is not a list of people with years)"),
        ({"authors": [person("Homer", True, 1.5)]}, "odd entry (authors is not a list of people with years)"),
        ({"authors": [{"name": "Homer"}]}, "no dates of Homer"),
        ({"translators": 5}, "odd entry (translators is not a list of people with years)"),
        ({"languages": ...}, "no language given"),
        ({"languages": "en"}, "odd entry (languages is not a list of texts)"),
        ({"languages": [5]}, "odd entry (languages is not a list of texts)"),
        ({"title": 5}, "odd entry (title is not a text)"),
        ({"title": 5, "subjects": {}}, "odd entry (title is not a text; subjects is not a list of texts)"),
        ({"copyright": None}, "copyright unknown"),
        ({"copyright": ...}, "copyright unknown"),
        ({"copyright": "false"}, "odd entry (copyright is not true or false)"),
        ({"copyright": 0}, "odd entry (copyright is not true or false)"),
        ({"media_type": []}, "odd entry (media_type is not a text)"),
        ({"download_count": "many"}, "odd entry (download_count is not a number)"),
        ({"download_count": float("nan")}, "odd entry (download_count is not a number)"),
        ({"formats": ...}, "no usable plain text"),
        ({"formats": None}, "no usable plain text"),
        ({"formats": ["text/plain"]}, "odd entry (formats is not an object)"),
        ({"formats": {"text/plain": 5}}, "no usable plain text"),
        ({"formats": {"text/plain": "http://[bad/1.txt"}}, "no usable plain text"),
        ({"formats": {"text/plain": "1.txt"}}, "no usable plain text"),
        ({"formats": {"text/plain": "file:///home/1.txt"}}, "no usable plain text"),
        ({"formats": {"text/plain": "http://host/1.txt; http://host/2.txt"}}, "no usable plain text"),
    ],
)
def test_an_odd_book_is_left_out_with_its_reason(server, tmp_path, change, reason):
    odd = {key: value for key, value in (SOUND[0] | {"id": 7} | change).items() if value is not ...}
    served(server, list(map(json.dumps, [*SOUND, odd])))
    rows = selected(server, tmp_path)
    assert (rows["7"]["kept"], rows["7"]["reason"]) == ("no", reason)
    assert [rows[str(entry["id"])]["kept"] for entry in SOUND] == ["yes"] * 4
    assert len(server.requests) == 1


@pytest.mark.parametrize("number", ["7", None, 7.0, True, -7, [], {}, ...])
def test_an_entry_without_a_number_is_left_out(server, tmp_path, caplog, number):
    caplog.set_level("INFO", "minlm")
    odd = {key: value for key, value in (SOUND[0] | {"id": number}).items() if value is not ...}
    served(server, list(map(json.dumps, [*SOUND, odd, "text", 5, None, []])))
    assert len(selected(server, tmp_path)) == 4
    assert "5 of 9 entries skipped: their id is not a number" in caplog.text
    assert len(server.requests) == 1  # they are no sign that the catalog changed


@pytest.mark.parametrize("sound_first", [True, False])
def test_of_two_entries_with_one_number_the_sound_one_is_taken(server, tmp_path, caplog, sound_first):
    caplog.set_level("INFO", "minlm")
    both = [SOUND[0], SOUND[0] | {"title": 5}][:: 1 if sound_first else -1]
    served(server, list(map(json.dumps, [*SOUND[1:], *both])))
    rows = selected(server, tmp_path)
    assert len(rows) == 4
    assert rows["6130"]["kept"] == "yes"
    assert "duplicate ids, used once: 6130" in caplog.text
    lines = (tmp_path / "catalog.jsonl").read_text().splitlines()
    (tmp_path / "catalog.jsonl").write_text("\n".join([*lines, json.dumps(both[1]), json.dumps(both[0])]))
    write_selection(
        tmp_path / "catalog.jsonl",
        tmp_path / "selection.csv",
        500,
        None,
        [],
        [],
        "data/books",
        "http://none.invalid",
        0,
    )
    assert len((tmp_path / "selection.csv").read_text().splitlines()) == 1 + 4
    assert "book 6130 is in the catalog twice" in caplog.text


@pytest.mark.parametrize("field", ["authors", "summaries", "formats", "title", "id"])
@pytest.mark.parametrize("value", [DEEP, '{"a":' * 50_000 + "1" + "}" * 50_000, "9" * 10_000, '"\\ud800"', "[NaN]"])
def test_what_a_parser_stumbles_over(server, tmp_path, field, value):
    odd = json.dumps(SOUND[0] | {"id": 7, "download_count": 1, field: "HERE"}).replace('"HERE"', value)
    served(server, [*map(json.dumps, SOUND), odd])
    rows = selected(server, tmp_path)
    assert [rows[str(entry["id"])]["kept"] for entry in SOUND] == ["yes"] * 4
    assert ("7" in rows) is (field != "id")


def test_bytes_that_are_not_utf8(server, tmp_path):
    page = json.dumps({"count": 4, "next": None, "results": SOUND}).encode().replace(b"Iliad", b"Ili\xff\xfed")
    server.answer = lambda request: Answer(page)
    assert selected(server, tmp_path)["6130"]["title"] == "The Ili\ufffd\ufffdd"


JSON = st.recursive(
    st.none() | st.integers() | st.text('a"\\[]{},é', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@settings(max_examples=50)
@given(JSON)
def test_deep_parts_leave_the_rest_as_it_is(value):
    text = json.dumps({"deep": "HERE", "value": value}, ensure_ascii=False).replace(
        '"HERE"', "[" * 2000 + "]" * 2000, 1
    )
    parsed = parse_foreign_json(text.encode("utf-8", "surrogatepass"))
    parsed.pop("deep")
    assert parsed == {"value": parse_foreign_json(json.dumps(value).encode())}
    with pytest.raises(ValueError, match=r"."):
        parse_foreign_json(text.encode("utf-8", "surrogatepass")[:-2])


@pytest.mark.parametrize(
    "page",
    [
        [],
        {"count": 1, "results": [5]},
        {"count": 1, "results": ["id"]},
        {"count": 1, "results": {}},
        {"count": "1", "results": []},
        {"count": 1, "results": [], "next": 5},
        {"count": 1, "results": [], "next": "http://[x"},
    ],
)
def test_what_is_no_page_stays_an_error(server, tmp_path, page):
    server.answer = lambda request: Answer(json.dumps(page).encode())
    with pytest.raises(MinlmError, match="did not answer with a Gutendex catalog page"):
        make_catalog(server, tmp_path / "catalog.jsonl")


def test_relative_address_of_the_next_page(server, tmp_path):
    good = pages(server, SOUND, size=1)

    def answer(request):
        page = json.loads(good(request).body)
        page["next"] = page["next"] and page["next"].removeprefix(server.url)
        return Answer(json.dumps(page).encode())

    server.answer = answer
    assert make_catalog(server, tmp_path / "catalog.jsonl") == 4


@pytest.mark.parametrize("line", [b"\xff", DEEP.encode(), b'{"id": "7"}', b"[]", b"", b'{"id": 7'])
def test_a_damaged_line_of_the_catalog_file_is_named(tmp_path, line):
    path = tmp_path / "catalog.jsonl"
    path.write_bytes(json.dumps(SOUND[0]).encode() + b"\n" + line + b"\n")
    with pytest.raises(MinlmError, match="line 2: not an entry of a catalog"):
        read_catalog(path)


def test_a_charset_with_more_after_it():
    assert choose_texts({"text/plain; charset=utf-8; format=flowed": "http://host/1.txt"})[0][1] == "utf-8"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["http://[", "-750", "\ud800", "http://host/x.txt", "\0", "a\r\nb"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@st.composite
def mutated(draw, entry):
    """The entry with a few values replaced or left out, anywhere in it."""
    entry = json.loads(json.dumps(entry))
    for _ in range(draw(st.integers(1, 3))):
        place, key = entry, draw(st.sampled_from(sorted(entry)))
        while isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans()):
            place = place[key]
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if draw(st.booleans()):
            place[key] = draw(VALUES)
        elif len(entry) > 1:
            del place[key]
    return entry


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(SOUND).flatmap(mutated) | VALUES, min_size=1, max_size=3), st.randoms())
def test_mutated_entries_never_stop_the_others(server, tmp_path, odd, random):
    odd = [entry | {"id": 7 + i} if isinstance(entry, dict) and "id" in entry and entry["id"] in (6130, 1497, 2680, 785)
           else entry for i, entry in enumerate(odd)]  # fmt: skip
    entries = [*SOUND, *odd]
    random.shuffle(entries)
    served(server, list(map(json.dumps, entries)))
    rows = selected(server, tmp_path)
    for entry in SOUND:
        row = rows[str(entry["id"])]
        displaced = row["reason"].startswith("another version of")  # by a mutated one that is still sound
        assert row["kept"] == "yes" or displaced
        assert row["title"] == " ".join(entry["title"].split())
        assert row["text_url"] in entry["formats"].values()
    for row in rows.values():
        assert row["kept"] == "yes" or row["reason"]
        assert row["kept"] == "no" or row["text_url"].startswith("http://")
