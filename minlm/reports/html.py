"""Small web pages from plain parts: one file each, no network, readable on a phone, light or dark."""

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } h3 { font-size: 1rem; margin-bottom: .3rem; }
img { width: 100%; min-width: 44rem; height: auto; background: #fff; border-radius: 6px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.text { white-space: normal; min-width: 8rem; overflow-wrap: anywhere; }
tr.best td { font-weight: 600; background: var(--soft); }
.note { opacity: .75; font-size: .9rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: .8rem; }
.card { border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; font-size: .9rem; }
.card p { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 14rem; overflow-y: auto; margin: .3rem 0 0; }
"""


def page(title: str, *parts: str, style: str = "") -> str:
    """A whole page of parts that are HTML already."""
    head = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{text(title)}</title>\n'
        f"<style>{STYLE}{style}</style>\n</head>\n<body>\n<h1>{text(title)}</h1>"
    )
    return "\n".join([head, *parts, "</body>\n</html>\n"])


def text(plain: str) -> str:
    """Plain text as HTML."""
    return html.escape(plain)


def spell_token(token: bytes) -> str:
    """A token's bytes as plain text; in hexadecimal if they are no whole characters."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "".join(f"⟨{byte:02x}⟩" for byte in token)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, words: Sequence[str] = (), best: int = -1) -> str:
    """A table of plain text.

    Args:
        header: names of the columns.
        rows: their values.
        words: the columns that are text to be read, not numbers.
        best: index of a row to highlight.
    """
    kind = ['class="text"' if name in words else "" for name in header]
    lines = ["".join(f"<th {k}>{text(name)}</th>" for k, name in zip(kind, header, strict=True))]
    lines += ["".join(f"<td {k}>{text(value)}</td>" for k, value in zip(kind, row, strict=True)) for row in rows]
    marks = ["", *('class="best"' if index == best else "" for index in range(len(lines) - 1))]
    body = "\n".join(f"<tr {mark}>{line}</tr>" for mark, line in zip(marks, lines, strict=True))
    return f'<div class="wide"><table>\n{body}\n</table></div>'


def picture(path: str | Path, description: str) -> str:
    """A PNG file, put into the page."""
    data = base64.b64encode(Path(path).read_bytes()).decode()
    return f'<div class="wide"><img alt="{text(description)}" src="data:image/png;base64,{data}"></div>'
