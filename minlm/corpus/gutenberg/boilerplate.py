"""Removing what Project Gutenberg adds to a work: header, footer, license, transcribers' notes and credits.

The functions are steps of `cleaning.clean_book`: each takes a text and returns it with a count of what it removed.
"""

import re

from minlm.corpus.gutenberg.cutting import cut_out

START = re.compile(
    r"^[^\w\n]*\*\*\*\s*START OF (?:THIS|THE) PROJECT GUTENBERG(?:[^*\n]*(?:\n[^*\n]+){0,2}\*\*\*[ ]*$|.*$)",
    re.I | re.M,
)
SMALL_PRINT_END = re.compile(r"^.*\*END\W*THE SMALL PRINT.*$", re.I | re.M)
END = re.compile(
    r"^[^\w\n]*(?:\*\*\*\s*END OF (?:THIS|THE) PROJECT GUTENBERG"
    r"|(?:this is )?(?:the )?end of (?:the |this )?project gutenberg"
    r"|\*\*\*\s*START: FULL LICENSE"
    r"|\*\s*START\W*THE SMALL PRINT)",
    re.I | re.M,
)
LICENSE = re.compile(
    r"project gutenberg|gutenberg\.(?:org|net)|gutenberg-tm|\bpglaf\b|michael s\. hart|public domain e-?text"
    r"|small print!|\be-?text (?:was )?(?:prepared|scanned|produced|typed)",
    re.I,
)
CREDITS = re.compile(
    r"(?:this (?:e-?text|e-?book|file|book) (?:was )?)?(?:e-?text )?(?:produced|prepared|scanned|transcribed|proofread"
    r"|digitized|typed|html version)\b.{0,40}\b(?:by|from)\b",
    re.I | re.S,
)

WHO = r"(?:transcriber|preparer|producer|digiti[sz]er|scanner|proof-?reader|e-?text (?:editor|preparer|producer))"
NOTE_HEADING = (
    rf"(?im)^[^\w\n]*(?:(?:original )?{WHO}[’']?s?[’']? (?:end|foot)?(?:notes?|comments?|remarks?)\b"
    r"|(?:a )?notes? (?:on|about|to) (?:the|this) (?:e-?text|e-?book|electronic|digital|online|transcription)\b).*"
)
BRACKETED_NOTE = re.compile(
    rf"\[(?:original )?(?:{WHO}|\*\*)(?:[^\[\]]|\[[^\[\]]*\])*\]|\[(?:end|start) of transcriber[^\[\]]*\]", re.I
)
REMARK = re.compile(  # in brackets at either end of a book
    r"\[[^\[\]]*\b(?:footnotes?|transliterat\w+|e-?texts?|scanned|proofread|italics?|ascii|uncredited)\b[^\[\]]*\]",
    re.I,
)
ERRORS_HEADING = (
    r"(?im)^[^\w\n]*(?:errata|corrigenda|(?:list of )?(?:errors|corrections|typographical errors|misprints)\b.{0,40}"
    r"|the following (?:\w+ )?(?:\w+ )?(?:errors|typos|misprints|corrections|changes)\b.*(?:\n.+){0,3})$"
)
ERROR = (  # a paragraph of a list of errors
    r"(?=.*(?:\n.+)*?(?:\b(?:for|read|reads|changed to|corrected|misprint\w*|typo)\b|-->|=>))"
    r".*\b(?:p|pp|page|line|l|chapter)\b\.? ?[\dIVXLC].*(?:\n.+)*"
)


def cut_header_and_footer(text: str) -> tuple[str, int]:
    """Keep the text between Project Gutenberg's markers. Counts the markers found: 2 is usual, 0 is suspicious.

    Old files have only a block of "small print" before the text and a line "End of …" after it. Where a marker is
    missing, nothing is cut.
    """
    start = START.search(text)
    begin = start.end() if start else 0
    end = END.search(text, begin)
    if not start and end and "small print" in end[0].lower():
        end = None  # it opens the small print before the text
    small_print = list(SMALL_PRINT_END.finditer(text, begin, end.start() if end else len(text)))
    if small_print:
        begin = small_print[-1].end()
        end = END.search(text, begin)
    found = bool(start or small_print) + bool(end)
    return text[begin : end.start() if end else len(text)].strip("\n") + "\n", found


def lacks_end_marker(text: str) -> bool:
    """Whether a text has Project Gutenberg's start marker but no end marker."""
    start = START.search(text)
    return start is not None and END.search(text, start.end()) is None


def remove_transcribers_notes(text: str) -> tuple[str, int]:
    """Remove the notes of those who made the electronic text, their lists of errors, and the credits that name them."""
    text, bracketed = cut_out(BRACKETED_NOTE, text)
    removed = 0

    def note(match: re.Match[str]) -> str:
        nonlocal removed
        removed += 1
        block = match[0]
        if len(block) > 3000:  # too long for a note: remove the heading and one paragraph
            block = "\n\n".join(block.split("\n\n")[:2])
        return match[0][len(block) :]

    text = re.sub(rf"{NOTE_HEADING}(?:\n\n?(?!\n).+)*", note, text)
    text = re.sub(rf"{ERRORS_HEADING}(?:\n\s*\n{ERROR})+", note, text)

    paragraphs = re.split(r"(\n\s*\n)", text)
    edge = 40  # paragraphs at either end of a book, where credits are
    for i in [*range(min(edge, len(paragraphs))), *range(max(edge, len(paragraphs) - edge), len(paragraphs))]:
        words = paragraphs[i].strip()
        if (CREDITS.match(words) and len(words) < 600) or re.match(r"note:.*\be-?text #", words, re.I):
            paragraphs[i] = ""
            removed += 1
        elif remark := REMARK.search(words):
            paragraphs[i] = words.replace(remark[0], "")
            removed += 1
    return "".join(paragraphs), bracketed + removed


def remove_license(text: str) -> tuple[str, int]:
    """Remove paragraphs about Project Gutenberg anywhere in the text: no ancient work mentions it."""
    paragraphs = re.split(r"(\n\s*\n)", text)
    kept = [paragraph for paragraph in paragraphs if not LICENSE.search(paragraph)]
    return "".join(kept), len(paragraphs) - len(kept)
