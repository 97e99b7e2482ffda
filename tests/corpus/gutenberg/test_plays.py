"""Speakers, title pages and notes of those who made the file: self-written samples of each style."""

import pytest

from minlm.corpus.gutenberg.boilerplate import remove_transcribers_notes
from minlm.corpus.gutenberg.cleaning import clean_book
from minlm.corpus.gutenberg.headings import remove_title_page

SPEECH = "Who comes to the gate at this hour of the night, when all the town is asleep?"
ONCE = ["ELDER B", "2ND WOMAN", "CHILD", "SLAVE OF CREON"]


def play(speaker):
    """Each of two speaks often, and four others once."""
    names = ["CREON", "HERALD"] * 8
    for i, name in enumerate(ONCE):
        names.insert(3 * i + 2, name)
    return names, "\n\n".join(speaker.format(name=name, speech=SPEECH) for name in names)


@pytest.mark.parametrize(
    ("speaker", "cleaned"),
    [
        ("{name}.\n\n{speech}", "{name}.\n\n{speech}"),
        ("{name}\n\n{speech}", "{name}\n\n{speech}"),
        ("{name}\n {speech}", "{name}\n{speech}"),
        ("{name}.\n  {speech}", "{name}.\n{speech}"),
        ("{name}. {speech}", "{name}. {speech}"),
        ("{name}: {speech}", "{name}: {speech}"),
        ("_{name}_. {speech}", "{name}. {speech}"),
    ],
)
def test_all_speakers_stay(speaker, cleaned):
    names, text = play(speaker)
    found, _ = clean_book(f"THE KING\n\n\n\nACT I\n\n\n\n{text}\n\n\n\nTHE END\n")
    assert found == "\n\n".join(cleaned.format(name=name, speech=SPEECH) for name in names)


def test_speakers_are_set_one_way():
    _, text = play("{name}.\n\n{speech}")
    found, _ = clean_book(f"{text}\n\nCREON.\n{SPEECH}\n")
    assert found.endswith(f"\n\nCREON.\n\n{SPEECH}")
    _, text = play("{name}\n {speech}")
    found, _ = clean_book(f"{text}\n\nCREON\n\n {SPEECH}\n")
    assert found.endswith(f"\n\nCREON\n{SPEECH}")


def test_speeches_without_blank_lines_are_separated():
    text = "\n".join(f"{name}. {SPEECH}" for name in ("CREON", "HERALD") * 8)
    assert clean_book(text)[0].split("\n\n") == text.split("\n")


PREFACE = (
    "PREFACE\n\nIf I turn to this play once more, my excuse must be that no other has held me for so long a time.\n"
)


@pytest.mark.parametrize(
    "title",
    [
        "THE\n\nKING\n\nOF\n\nTHEBES\n\n\nBY\n\nA POET\n\n",
        "THE KING\n\nTRANSLATED INTO VERSE\n\nBY A. SCHOLAR\n\nLONDON: SMITH & CO.\n40 HILL STREET, W.C.\n\n",
        "The King\n\nBy A Poet\n\nLondon: Smith & Co.\n\n _First published_  _May 1911_\n _Reprinted_  _1912_\n\n",
        "The Odes\n\n  rendered into English\n  for those who cannot\n  read them\n\nTENTH THOUSAND\n\n",
    ],
)
def test_title_pages(title):
    assert remove_title_page(f"\n\n{title}\n\n{PREFACE}")[0] == PREFACE


@pytest.mark.parametrize(
    "note",
    [
        "PREPARER'S NOTE\n\n  This text was prepared from an edition of 1890.\n\n  Greek is in brackets.\n",
        "A NOTE ON THE ETEXT\n\nAccents are left out.\n",
        "[Transcriber's note: two letters were changed.]\n",
        "ERRATA\n\nPage 12, line 3, for 'herd' read 'herald'.\n\nPage 40, line 1, for 'sung' read 'sang'.\n",
        "[Footnotes are left out, because they only give Greek words.]\n",
        "Produced by A. Reader\n",
    ],
)
def test_notes_of_those_who_made_the_file(note):
    work = f"{SPEECH}\n\n" * 5
    assert remove_transcribers_notes(f"{note}\n\n\n{work}")[0].split() == work.split()
    assert remove_transcribers_notes(f"{work}\n\n\n{note}")[0].split() == work.split()


def test_the_end_of_a_book():
    """A closing ornament goes, and the last paragraph is joined like all others."""
    prose = "He went down to the sea where the ships\nwere drawn up on the sand, and there he\nslept until dawn."
    joined = prose.replace("\n", " ")
    assert clean_book(f"{prose}\n\n" * 5 + "       *       *       *\n")[0] == "\n\n".join([joined] * 5)
    assert clean_book(f"{prose}\n\n" * 4 + f"{prose}\n* * *")[0] == "\n\n".join([joined] * 5)
