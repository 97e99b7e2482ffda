"""Golden samples of each way to write notes, self-written, and texts with numbers that are not notes."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minlm.corpus.gutenberg.cleaning import clean_book
from minlm.corpus.gutenberg.notes import remove_marks_without_notes, remove_notes
from minlm.corpus.gutenberg.numbers import longest_rise, remove_page_numbers

WORK = "The herald came to the gate of the town at dawn{}, and he asked for the king{} who slept."
SENTENCE = "No one there would answer him, and so he waited by the wall until the sun was high above the hills."


def book(mark, note, heading="", count=12, gap="\n\n"):
    """A work with two marks in each paragraph, and its notes after the paragraphs, or in a list with a heading."""
    paragraphs, notes = [], []
    for i in range(1, 2 * count, 2):
        work = WORK.format(mark.format(n=i), mark.format(n=i + 1))
        pair = [note.format(n=n, text=f"Thus the oldest copy; the scholiast {n} reads otherwise.") for n in (i, i + 1)]
        paragraphs.append(work if heading else "\n\n".join([work, *pair]))
        paragraphs.append(SENTENCE)
        notes += pair
    return "\n\n".join(paragraphs) + (f"\n\n\n{heading}\n\n{gap.join(notes)}\n" if heading else "\n")


STYLES = {
    "brackets": (" [{n}]", "[{n}]  {text}", ""),
    "brackets in a list": ("[{n}]", "[{n}] {text}", "FOOTNOTES"),
    "braces after a space": (" {{{n}}}", "{{{n}}} {text}", "FOOTNOTES"),
    "f(1)": ("({n})", " f({n}) {text}", ""),
    "parentheses": ("({n})", "    ({n}) {text}", ""),
    "endnotes in parentheses": (" ({n})", "({n})  {text}", "ENDNOTES:"),
    "plain marks, open brackets": (" {n}", "{n} [ {text}]", "NOTES TO BOOK I"),
    "open brackets with return": ("[{n}]", "{n} (return) [ {text}]", ""),
    "hanging numbers": ("[{n}]", "    {n} {text}", "FOOTNOTES"),
    "numbers with a point": ("[{n}]", "{n}. {text}", "Notes"),
    "Footnote n": ("[{n}]", "Footnote {n}: {text}", ""),
    "[Footnote n]": ("[{n}]", "[Footnote {n}: {text}]", ""),
    "[FN#n]": ("[FN#{n}]", "[FN#{n}]  {text}", ""),
    "angle brackets": ("<{n}>", "<{n}> {text}", "FOOTNOTES"),
    "carets": ("^{n}", "^{n} {text}", "NOTES"),
    "indented numbers without a list": ("({n})", "     {n} {text}", ""),
}


@pytest.mark.parametrize(("mark", "note", "heading"), STYLES.values(), ids=STYLES)
def test_notes_go_with_their_marks(mark, note, heading):
    work = [WORK.format("", ""), SENTENCE] * 12
    assert clean_book(book(mark, note, heading))[0].split("\n\n") == work
    if heading:
        assert clean_book(book(mark, note, heading, gap="\n"))[0].split("\n\n") == work


def test_letters_and_asterisks():
    for mark, note in (
        ("[A]", "[A] Thus Homer."),
        ("*", "* Thus Homer."),
        ("[*]", "[*] Thus Homer."),
        ("†", "† Thus."),
    ):
        text = "\n\n".join([WORK.format(mark, ""), note, SENTENCE]) + "\n"
        assert remove_notes(text)[0].split() == f"{WORK.format('', '')} {SENTENCE}".split()


def test_a_note_of_several_paragraphs_and_numbers_that_start_again():
    notes = "[1] The first.\n\n    A verse quoted there,\n    And another.\n\n[2] The second.\n\n[3] The third."
    chapter = f"He came[1] and saw[2] and won[3].\n\n{notes}\n\n{SENTENCE}\n\n"
    assert remove_notes(chapter * 3)[0].split() == f"He came and saw and won. {SENTENCE} ".split() * 3


def test_a_list_of_references_at_the_end():
    notes = "\n\n".join(f"P. {n}, l. {n * 12}, The herald.]--A common figure of the stage." for n in range(3, 40, 3))
    text = f"{SENTENCE}\n\n" * 30 + f"NOTES TO\n\nTHE HERALD\n\n\nThe persons of the play are brothers.\n\n{notes}\n"
    assert clean_book(text)[0].split("\n\n") == [SENTENCE] * 30


def test_sidenotes_go():
    assert remove_notes("  He came.\n\n[Sidenote: vv. 15-39]\n\n  He saw.\n")[0].split() == [
        "He",
        "came.",
        "He",
        "saw.",
    ]


def lines(template, numbers):
    return "".join(f"{template.format(n=n)}\n\n{SENTENCE}\n\n" for n in numbers)


NOT_NOTES = {
    "verse numbers": lines("{n} And the king spoke to all his people.", range(1, 40)),
    "verse numbers in parentheses": lines("({n}) And the king spoke to all his people.", range(1, 40)),
    "section numbers in brackets": lines("[{n}] And the king spoke to all his people.", range(1, 40)),
    "chapters": lines("{n}. And the king spoke to all his people.", range(1, 40)),
    "years in brackets": lines("In that year [{n}] the king spoke to all his people.", range(431, 461)),
    "years in parentheses": lines("Pericles spoke for the last time ({n}) to all his people.", range(431, 401, -1)),
    "two in brackets": f"He had reasons: [1] the sea, and [2] the wind.\n\n[1] The sea was high.\n\n{SENTENCE}\n",
    "an enumeration": f"There are three: (1) fire, (2) air.\n\n(1) Fire is hot.\n\n(2) Air is light.\n\n{SENTENCE}\n"
    * 4,
    "a long enumeration": " ".join(f"({n}) The art of him who rules men," for n in range(1, 30)) + SENTENCE * 50 + "\n",
    "numbers in prose": lines("They had 120 ships and 30 towers, and of the Greeks 12 came back.", range(20)),
    "a bullet list": f"{SENTENCE}\n\n* The sea\n\n* The wind\n\n{SENTENCE}\n",
    "words in asterisks": f"He was *very* tired.\n\n*Very* tired he was.\n\n{SENTENCE}\n",
    "bracketed words": f"Why [Greek] stands here [sic] he knew not.\n\n[Greek] is not there.\n\n{SENTENCE}\n",
}


@pytest.mark.parametrize("text", NOT_NOTES.values(), ids=NOT_NOTES)
def test_what_is_no_note_stays(text):
    for step in (remove_notes, remove_page_numbers, remove_marks_without_notes):
        assert step(text) == (text, 0)


def test_notes_without_marks_stay_unless_they_are_in_a_list():
    text = lines("[{n}] Thus the oldest copy.", range(1, 30)) + "The last word[1] has a mark.\n"
    assert remove_notes(text) == (text, 0)


def test_page_numbers_inside_sentences():
    pages = "".join(f"He was, as they say, ({n}) a man of peace. {SENTENCE}\n\n" for n in range(5, 40))
    text, count = remove_page_numbers(f"(4) until he came.\n\n{pages}Of these (3) things.\n")
    assert count == 36
    assert "as they say, a man" in text
    assert text.startswith("until he came.")
    assert text.endswith("Of these (3) things.\n")


def test_marks_at_line_ends_and_before_punctuation():
    marks = "\n".join(f"The king\n[{n}]. He was old [{n}]\nand wise." for n in range(1, 13))
    notes = "\n\n".join(f"[{n}] Thus Homer." for n in range(1, 13))
    assert remove_notes(f"{marks}\n\nFOOTNOTES\n\n{notes}\n")[0].startswith(
        "The king. He was old\nand wise.\nThe king."
    )


@settings(max_examples=200)
@given(st.lists(st.integers(0, 30), max_size=12))
def test_longest_rise(numbers):
    rise = [number for number, _ in longest_rise([(number, None) for number in numbers])]
    assert all(later > earlier for earlier, later in itertools.pairwise(rise))
    lengths = []  # of the longest rise that ends at each number
    for i, number in enumerate(numbers):
        lengths.append(1 + max((lengths[j] for j in range(i) if numbers[j] < number), default=0))
    assert len(rise) == max(lengths, default=0)


PARAGRAPHS = [
    "He came to the gate.", "[1] Thus Homer.", "He[1] saw (2) it.", "(2) The second thing.", "FOOTNOTES",
    "3 [ A note.]", "   4 Hanging.", "* A star", "a word*", "[Footnote 5: text", "in brackets]", "INDEX", "BOOK II",
    "P. 5, l. 6", "NOTES",
]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(PARAGRAPHS), max_size=30))
def test_cleaning_only_removes(paragraphs):
    """No word is new or changes its place."""
    text = "\n\n".join(paragraphs) + "\n"
    cleaned = remove_marks_without_notes(remove_page_numbers(remove_notes(text)[0])[0])[0]
    remaining = iter(re.findall(r"\w+", text))
    assert all(word in remaining for word in re.findall(r"\w+", cleaned))
