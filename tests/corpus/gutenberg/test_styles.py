"""Golden samples of styles of books: self-written, each with what must remain of it."""

import pytest

from minlm.corpus.gutenberg.cleaning import clean_book, remove_emphasis
from minlm.corpus.gutenberg.numbers import remove_line_numbers

PROSE = (
    "The herald came to the gate of the town at dawn, and he asked for the\nking who slept. No one there would answer "
    "him, and so he waited by\nthe wall until the sun was high above the hills."
)
JOINED = PROSE.replace("\n", " ")
STANZA = "He came at morning to the silent gate,\nAnd no one in the town would let him in,\nThe sun was high,"
LONG = "And who are these that come so late to beat upon the doors of sleep,\n" * 4 + "And ask for bread?"


def cleaned(*paragraphs):
    return clean_book("\n\n".join(paragraphs) + "\n")[0].split("\n\n")


def indented(text):
    return "\n".join(f"  {line}" for line in text.split("\n"))


def numbered(template, numbers):
    return [template.format(n=n, text=f"{n}-fold is the counsel of him who waits at the gate.") for n in numbers]


def test_verse_as_long_as_prose():
    """Lines of verse that are full stay if the book is verse, or if they are set off from prose."""
    couplet = LONG.split("\n", 1)[0] + "\nAnd who are these that stand so long and look upon the moonlit deep?"
    assert cleaned(*[LONG] * 10, couplet) == [*[LONG] * 10, couplet]
    assert cleaned(*[PROSE] * 10, indented(couplet)) == [*[JOINED] * 10, couplet]
    assert cleaned(*[PROSE] * 10, couplet) == [*[JOINED] * 10, couplet.replace("\n", " ")]


def test_a_book_of_short_verse():
    assert cleaned(*[STANZA] * 10) == [STANZA] * 10


def test_turnovers_are_joined_to_their_lines():
    line = "The last of sights, the last of days, and no man's life accounted gain"
    turned = f"{line}\n    until\nEre the full tale be finished and the darkness find him without pain."
    assert cleaned(*[LONG] * 10, turned)[-1] == turned.replace("\n    until", " until")


@pytest.mark.parametrize("number", ["{line:<50}{n}", "{line}   ({n})", "{n:<6}{line}"])
def test_line_numbers_in_a_margin(number):
    lines = [f"The king said nothing to the herald {'and' if n % 2 else 'but'} slept" for n in range(1, 101)]
    shown = [number.format(line=line, n=n) if n % 5 == 0 else line for n, line in enumerate(lines, start=1)]
    text, count = remove_line_numbers("\n".join(shown) + "\n")
    assert (text.split(), count) == (" ".join(lines).split(), 20)


def test_a_table_is_no_margin():
    table = "".join(f"Year  {year}\n" for year in (5, 10, 12, 20, 22, 31, 40, 41, 50, 55, 57, 60, 63))
    notes = "".join(f"{n}  Thus the oldest copy.\n\n" for n in range(1, 60))
    assert remove_line_numbers(table + notes) == (table + notes, 0)


OWN_NUMBERS = {
    "sayings": numbered("{n}. {text}", range(1, 60)),
    "short sayings": numbered("{n}. {n} winds.", range(1, 60)),
    "verses that start again": numbered("{n} {text}", [*range(1, 20), *range(1, 30)]),
    "chapter and verse": numbered("3:{n} {text}", range(1, 40)),
    "ranges of lines": numbered("(ll. {n}-{n}9) {text}", range(1, 40)),
    "numbers after verses": numbered("{text} ({n})", range(1, 40)),
    "letters": [f"({letter}) The {letter} of the law." for letter in "abcabcabcabc"],
    "restored words": numbered("{n}. If [a man] {text}", range(1, 40)),
}


@pytest.mark.parametrize("sayings", OWN_NUMBERS.values(), ids=OWN_NUMBERS)
def test_the_numbers_of_a_work_stay(sayings):
    assert cleaned("SAYINGS", *sayings) == sayings


@pytest.mark.parametrize("count", [5, 60])
def test_numbered_notes_to_oneself_stay(count):
    sayings = OWN_NUMBERS["sayings"]
    assert cleaned("ESSAYS", *[PROSE] * count, "NOTES TO MYSELF", *sayings) == [*[JOINED] * count, *sayings]


def test_notes_by_verse_go_without_marks():
    notes = [f"{n}. The commentator takes this word for another." for n in range(1, 60, 4)]
    sayings = OWN_NUMBERS["sayings"]
    assert cleaned("SAYINGS", *sayings, "NOTES", *notes) == sayings


def test_propositions():
    book = [part for n in range(1, 20) for part in (f"PROPOSITION {n}.", PROSE, "Q. E. D.")]
    assert cleaned("ELEMENTS", "BOOK I", *book) == [JOINED, "Q. E. D."] * 19


def test_letters():
    book = [part for n in ["I", "II", "III", "IV", "V", "VI", "VII"] for part in (n, "TO TITUS, AT ROME", PROSE)]
    assert cleaned("LETTERS", *book) == [JOINED] * 7


def test_characters_stay():
    cast = ["CREON, the king\nCHORUS of old men", "A HERALD.", "HERALD OF THE SEA."]
    speeches = [part for _ in range(10) for part in ("CREON.", "Who comes?", "HERALD.", "One who brings news.")]
    assert cleaned("THE KING", "A TRAGEDY", "DRAMATIS PERSONAE", *cast, *speeches) == [*cast, *speeches]


def test_headings_of_notes_go_and_ornaments_before_them():
    book = [
        f"{PROSE[:-1]}[{n}].\n\n{PROSE}\n\n----------\n\nNOTES TO BOOK {n}\n\n[{n}] Thus Homer." for n in range(1, 4)
    ]
    assert cleaned(*book) == [JOINED] * 6


def test_notes_by_line_between_two_poems():
    notes = [f"Line {n}. The herald: so the better copies." for n in range(3, 60, 4)]
    stanza = f"{STANZA}\nHe slept."
    assert cleaned("POEMS", *[stanza] * 9, "NOTES", *notes, "ANOTHER", *[stanza] * 9) == [stanza] * 18


def test_a_quotation_in_a_note():
    notes = [
        f"{PROSE[:-1]}[{n}].\n\n    [{n}] The poet says:\n\n      A verse of his,\n      And one." for n in range(1, 9)
    ]
    assert cleaned(*notes) == [JOINED] * 8


def test_page_numbers_between_the_halves_of_a_sentence():
    pages = [f"{PROSE[:-1]} and\n\n[{n}]\n\nhe slept." for n in range(12, 40)]
    assert cleaned(*pages) == [f"{JOINED[:-1]} and he slept."] * 28


def test_emphasis_over_emphasis():
    text = "HELEN, _wife to\n_MENELAUS_; carried off by Paris._\n\n_One._ snake_case ____\n"
    assert remove_emphasis(text)[0] == text.replace("_M", "M").replace("S_", "S").replace(" _w", " w").replace(
        "._", "."
    ).replace("_One", "One")
