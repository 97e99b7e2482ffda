"""Each step before and after, then whole books in the shapes that Project Gutenberg has used."""

import re
import time

import pytest

from minlm.corpus.gutenberg import cleaning
from minlm.corpus.gutenberg.cleaning import clean_book
from minlm.corpus.gutenberg.reflow import is_verse, join_lines, reflow
from minlm.errors import MinlmError
from minlm.scripts import clean_book as program

PROSE = """Sing, O goddess, the anger of Achilles son of Peleus, that brought
countless ills upon the Achaeans. Many a brave soul did it send
hurrying down to Hades, and many a hero did it yield a prey to dogs and
vultures, for so were the counsels of Jove fulfilled from the day on
which the son of Atreus, king of men, and great Achilles, first fell
out with one another.
"""
VERSE = """  Arms, and the man I sing, who, forc'd by fate,
  And haughty Juno's unrelenting hate,
  Expell'd and exil'd, left the Trojan shore.
  Long labours, both by sea and land, he bore,
"""
FULL_LICENSE = """*** START: FULL LICENSE ***

THE FULL PROJECT GUTENBERG LICENSE
PLEASE READ THIS BEFORE YOU DISTRIBUTE OR USE THIS WORK
"""


@pytest.mark.parametrize(
    ("step", "before", "after", "count"),
    [
        ("normalize_spaces", "\ufeffa\u00a0b \r\nc\td\r\ne\u00adf\f", "a b\nc d\nef\n", 5),
        ("remove_illustrations", "One.\n\n[Illustration: A [very] old\nship.]\n\ntwo\n", "One.\n\ntwo\n", 1),
        ("remove_illustrations", "he went\n\n[Illustration]\n\nhome\n", "he went\nhome\n", 1),
        ("remove_illustrations", "a.\n\n  [Illustration: MARS.]\n\n      MARS.\n\nB\n", "a.\n\n\n\nB\n", 1),
        ("remove_notes", "Text.\n\n[Footnote 1: See\n\nbook [2] there.]\n\nMore.\n", "Text.\n\n\n\nMore.\n", 1),
        ("remove_notes", "He took note [note that] of it.", "He took note of it.", 1),
        ("remove_notes", "An unclosed [Footnote 1: stays\n\nText.", "An unclosed [Footnote 1: stays\n\nText.", 0),
        ("remove_marks_without_notes", "desire.(123) He[12] said[A] so [*], {3}", "desire. He said so, {3}", 4),
        ("remove_marks_without_notes", "(1) a (2) [sic] a[s]b [G.] f(x) [7]", "(1) a (2) [sic] a[s]b [G.] f(x) [7]", 0),
        ("remove_page_numbers", "the [Pg 12] man\n\n- 13 -\n\nwent {p. xiv} on\n", "the man\nwent on\n", 3),
        ("remove_page_numbers", "In\n\n1066\n\nhe came.\n", "In\n\n1066\n\nhe came.\n", 0),
        ("remove_ornaments", "a\n\n  * * *\n\n-----\nb -- c\n_d_\n", "a\n\n\n\n\nb -- c\n_d_\n", 2),
        ("remove_emphasis", "_This_ is =bold=, snake_case_a, 1 = 1 = 1", "This is bold, snake_case_a, 1 = 1 = 1", 2),
        ("remove_emphasis", "_over\ntwo lines,_ he said", "over\ntwo lines, he said", 1),
        ("to_ascii_typography", "\u201cIt\u2019s\u201d\u2014\u00e6\u2026 1\u20132", "\"It's\"--\u00e6... 1-2", 6),
        ("remove_license", "a\n\nThis eBook is\nfrom www.gutenberg.org\n\nb\n", "a\n\n\n\nb\n", 1),
        ("remove_headings", "BOOK IV\n\nHe came.\n\nXX.\n\nIn the end.\n\nFINIS\n", "He came.\n\nIn the end.\n", 3),
        ("remove_headings", "I. He spoke.\n\nMIX the two.\n\nMix\n", "I. He spoke.\n\nMIX the two.\n\nMix\n", 0),
        ("remove_headings", "CREON\n\nWho?\n\n" * 3, "CREON\n\nWho?\n\n" * 3, 0),
        ("remove_headings", "BOOK I\nOF THE GODS\n\nHe came.\n", "He came.\n", 1),
        ("remove_headings", "BOOK I\n\nTHE\n\nRETURN OF ULYSSES\n\nHe came.\n", "He came.\n", 3),
        ("remove_headings", "BOOK I.\nSing, O goddess.\n\nHe came.\n", "Sing, O goddess.\n\nHe came.\n", 1),
        ("remove_headings", "Written:\n\nHERE LIES\nONE\n\nHe read.\n", "Written:\n\nHERE LIES\nONE\n\nHe read.\n", 0),
        ("remove_headings", "CREON:\n\nWho?\n", "CREON:\n\nWho?\n", 0),
    ],
)  # fmt: skip
def test_step(step, before, after, count):
    text, counted = getattr(cleaning, step)(before)
    assert re.sub(r"\n{3,}", "\n\n", text).strip("\n") == re.sub(r"\n{3,}", "\n\n", after).strip("\n")
    assert counted == count


def test_bare_page_numbers_go_if_they_count_up():
    pages = "".join(
        f"A page that ends in the middle of\n\n{number}\n\na sentence. Then more.\n\n" for number in range(20)
    )
    text, count = cleaning.remove_page_numbers(f"Start.\n\n{pages}")
    assert count == 20
    assert not re.search(r"\d", text)
    assert "in the middle of\na sentence." in text
    years = "".join(f"In the year\n\n{number}\n\nHe came.\n\n" for number in (3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5))
    assert cleaning.remove_page_numbers(years) == (years, 0)


CONTENTS = {
    "with page numbers": "CONTENTS\n\nBOOK I. The start .... 1\nBOOK II. More .. 22\nINDEX  100\n\n\n\nBOOK I\n\n",
    "blank lines between": "  Contents\n\n     BOOK I\n\n     BOOK II\n\n     BOOK  III\n\n\n\n\n BOOK I\n\n",
    "stops at a heading of the list": "TABLE OF CONTENTS.\nPreface\nBook I\nBook II\n\nPREFACE\n\n",
    "lists of illustrations": "ILLUSTRATIONS\n\nMARS.\nVENUS.\nMARS.\nJUNO.\n\n\n\n\nBOOK I\n\n",
}


@pytest.mark.parametrize("contents", CONTENTS.values(), ids=CONTENTS.keys())
def test_contents(contents):
    text, count = cleaning.remove_contents(f"TITLE\n\n{contents}{PROSE}")
    assert count >= 4
    heading = contents.strip("\n").split("\n")[-1]
    assert re.fullmatch(rf"TITLE\s+{re.escape(heading)}\s+{re.escape(PROSE)}", text)


@pytest.mark.parametrize(
    "text",
    [f"CONTENTS\n\n{PROSE}", "CONTENTS\n\nMore\nthan\nthis\n", f"{PROSE * 300}\nContents\n\na\nb\nc\n\n\n\n{PROSE}"],
)
def test_what_is_no_table_of_contents_stays(text):
    assert cleaning.remove_contents(text) == (text, 0)


def test_index():
    index = "INDEX\n\n" + "".join(f"Achilles, wrath of, {n}, {n + 5}\n" for n in range(30))
    text, count = cleaning.remove_index(f"{PROSE * 20}\n{index}")
    assert count == 31
    assert text == f"{PROSE * 20}"
    for other in (f"{index}\n{PROSE * 20}", f"{PROSE * 20}\nINDEX\n\n{PROSE}"):
        assert cleaning.remove_index(other) == (other, 0)


def test_transcribers_notes():
    note = "Original Transcriber's Notes:\n\nThis text was scanned by J. Smith.\n\nIt has no Greek.\n\n\n\n"
    text, count = cleaning.remove_transcribers_notes(
        f"Produced by Sue and\nthe team at example.net\n\n{note}BOOK I\n\n{PROSE}\n[Transcriber's note: a [sic] b]\n"
    )
    assert count == 3
    assert text.strip() == f"BOOK I\n\n{PROSE}".strip()
    endless = "Transcriber's Note\n\nOne remark.\n\n" + f"{PROSE}\n" * 20  # no gap ends the note
    assert cleaning.remove_transcribers_notes(endless)[0].strip() == (f"{PROSE}\n" * 20).strip()
    body = f"{PROSE}\nProduced by the sun, the light is good.\n" * 10
    assert cleaning.remove_transcribers_notes(f"{PROSE}\n" * 20 + body + f"{PROSE}\n" * 20)[1] == 0


def test_title_page():
    title = "By Plato\n\nTranslated by\nBenjamin Jowett\n\n1871\n\n"
    assert cleaning.remove_title_page(title + PROSE) == (PROSE, 3)
    play = "Who is there?\n\nI.\n\nCome in.\n\n" + PROSE
    assert cleaning.remove_title_page(play) == (play, 0)
    short = "A line.\n\n" * 30
    assert cleaning.remove_title_page(short) == (short, 0)


def book(start, end, body=PROSE, before="The Project Gutenberg EBook of X\n\nTitle: X\n\n"):
    return f"{before}{start}\n\n\n{body}\n\n\n{end}\n\n{FULL_LICENSE}"


MARKERS = [
    ("*** START OF THIS PROJECT GUTENBERG EBOOK X ***", "*** END OF THIS PROJECT GUTENBERG EBOOK X ***"),
    ("***START OF THE PROJECT GUTENBERG EBOOK X***", "***END OF THE PROJECT GUTENBERG EBOOK X***"),
    ("*** START OF THE PROJECT GUTENBERG EBOOK 1497 ***", "End of the Project Gutenberg EBook of X, by Y"),
    ("*** START OF THIS PROJECT GUTENBERG EBOOK A LONG\nTITLE ***", "End of Project Gutenberg's X, by Y."),
    ("*** START OF THIS PROJECT GUTENBERG ETEXT X", "End of this Project Gutenberg Etext of X"),
    (
        "***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***\nWhy is this here? You know: lawyers.\n"
        "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
        "End of The Project Gutenberg Etext of X",
    ),
    (
        "*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\nSmall print of old\n"
        "*END THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
        "*** END OF THE PROJECT GUTENBERG EBOOK X ***",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("start", "end"), MARKERS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("light", [False, True])
def test_markers(start, end, newline, light):
    text, counts = clean_book("\ufeff" + book(start, end).replace("\n", newline), light=light)
    assert counts["header and footer"] == 2
    assert text == (PROSE.strip() if light else " ".join(PROSE.split()))


def test_small_print_at_the_end():
    text, _ = clean_book(f"{PROSE}\n***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN EBOOKS**START***\nlawyers\n")
    assert text == " ".join(PROSE.split())


def test_without_markers_only_paragraphs_of_license_go():
    text, counts = clean_book(f"This is a Project Gutenberg book.\n\n{PROSE}\n{PROSE}\nSee www.gutenberg.org\n")
    assert counts["header and footer"] == 0
    assert text == "\n\n".join([" ".join(PROSE.split())] * 2)


def test_reflow():
    quoted = "  An indented quotation, which is\n  wrapped much narrower than the\n  text around it.\n"
    joined, count = reflow(f"{PROSE}\n{VERSE}\n{PROSE}\n{quoted}")
    prose = " ".join(PROSE.split())
    verse = "\n".join(line.strip() for line in VERSE.strip().split("\n"))
    quotation = "An indented quotation, which is wrapped much narrower than the text around it."
    assert joined.strip().split("\n\n") == [prose, verse, prose, quotation]
    assert count == 5 + 5 + 2
    assert reflow(joined) == (joined, 0)


def test_verse():
    assert is_verse(VERSE.strip("\n").split("\n"), width=60)
    assert not is_verse(PROSE.strip("\n").split("\n"), width=70)
    assert not is_verse(["one line"], width=70)
    long_lines = ["The son of Peleus sat beside the shore of that grey sea, and wept aloud,",
                  "And to his mother made his prayer, with hands stretched out to her:",
                  "Mother, since thou didst bear me to so brief a span of life on earth,",
                  "Honour at the least the Olympian ought to have granted to my hands,",
                  "Zeus, who doth thunder from on high; but now he honours me no whit."]  # fmt: skip
    assert is_verse(long_lines, width=74)


@pytest.mark.parametrize(
    ("lines", "words", "joined"),
    [
        (["a coun-", "sel of war"], {"counsel"}, "a counsel of war"),
        (["in his life-", "time he"], {"life", "time"}, "in his life-time he"),
        (["in his life-", "time he"], {"lifetime", "life-time"}, "in his life-time he"),
        (["the Anglo-", "Saxon"], {"AngloSaxon"}, "the Anglo-Saxon"),
        (["he went--", "so they say"], set(), "he went--so they say"),
        (["a dash -", "alone"], set(), "a dash - alone"),
    ],
)
def test_hyphens_at_line_ends(lines, words, joined):
    assert join_lines(lines, words) == joined


N = 100_000
REPETITIVE = {
    "spaces": "x" + " " * N + "y",
    "line feeds": "a" + "\n" * N + "b",
    "stars": "*" * N + "x",
    "lines of stars": "***\n" * (N // 4) + "x",
    "start markers": "*** START OF THIS PROJECT GUTENBERG\n" * (N // 36),
    "contents": "Contents\n" * (N // 9),
    "lists of contents": "Contents\n\na\nb\nc\n\n\n\n" * (N // 20),
    "index": "Index 1\n" * (N // 8),
    "one paragraph": "word word\n" * (N // 10),
    "hyphens": "a-\n" * (N // 3),
    "points": "He is one of those who wait" + "." * N + "\n\nx",
    "turnovers": ("x" * 70 + "\nand so\n") * (N // 80),
    "margins": ("x" + " " * 400 + "5 \n") * (N // 400),
    "a long word": "x" * N + "-\ny",
    "illustration": "[Illustration: " + "\n" * N + "]" + "\n" * N + "x",
    "open notes": "[note " * (N // 6),
    "an open note with brackets": "[note " + "[a]" * (N // 3),
}


@pytest.mark.parametrize("text", REPETITIVE.values(), ids=REPETITIVE.keys())
def test_cleaning_takes_linear_time(text):
    """0.3 s at most; in quadratic time some of these took minutes."""
    start = time.process_time()
    clean_book(text)
    assert time.process_time() - start < 3


def test_separator_never_stays():
    assert "<|endoftext|>" not in clean_book(f"{PROSE}\n<|endoftext|>\n{PROSE}")[0]


def test_typography_is_an_option():
    text = f"\u201c{PROSE}\u201d"
    assert clean_book(text, keep_typography=True)[0].startswith("\u201c")
    assert clean_book(text)[0].startswith('"')


def test_program(tmp_path, capfd):
    source, output = tmp_path / "1.txt", tmp_path / "clean" / "1.txt"
    source.write_text(book(*MARKERS[0], body=f"{PROSE}\n[Illustration: A ship]\n\n{PROSE}"))
    program.main(["--input", str(source), "--output", str(output)])
    assert output.read_text() == "\n\n".join([" ".join(PROSE.split())] * 2) + "\n"
    shown = capfd.readouterr().err
    assert "illustrations 1" in shown
    assert "header and footer 2" in shown
    source.write_text(PROSE)
    program.main(["--input", str(source), "--output", str(output), "--light"])
    assert "only 0 of Project Gutenberg's 2 markers found" in capfd.readouterr().err
    assert output.read_text() == PROSE

    source.write_text("")  # a book that could not be fetched
    program.main(["--input", str(source), "--output", str(output)])
    assert output.read_text() == ""
    source.write_bytes(b"caf\xe9")
    with pytest.raises(MinlmError, match="offset 3"):
        cleaning.clean_file(source, output)
    with pytest.raises(SystemExit) as stopped:
        program.main(["--input", str(source), "--output", str(output)])
    assert stopped.value.code == 1
