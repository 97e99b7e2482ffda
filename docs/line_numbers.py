"""Bring the line numbers in docs/reading.md up to date: `[attention.py:55](…) `name`` points at the line of `name`."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/reading.md"
REFERENCE = re.compile(r"`(?P<name>\w+(?:\.\w+)?)` \((?P<path>[a-z_/]+\.py):(?P<line>\d+)\)")


def line_of(path: str, name: str) -> int:
    """The line of minlm/{path} where a function, class, method (Class.method) or constant is defined.

    Raises:
        LookupError: there is none.
    """
    lines = (ROOT / "minlm" / path).read_text(encoding="utf-8").splitlines()
    owner, _, member = name.rpartition(".")
    start = line_of(path, owner) if owner else 0
    definition = re.compile(rf"\s*(def|class) {member}\b|{member}(:|\s=|\s=)")
    for number, line in enumerate(lines[start:], start + 1):
        if definition.match(line):
            return number
    raise LookupError(f"minlm/{path} defines no {name}")


def updated(text: str) -> str:
    """The page with true line numbers."""
    return REFERENCE.sub(lambda m: f"`{m['name']}` ({m['path']}:{line_of(m['path'], m['name'])})", text)


if __name__ == "__main__":
    before = PAGE.read_text(encoding="utf-8")
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if updated(before) == before else "docs/reading.md: line numbers are out of date; run `make docs`")
    PAGE.write_text(updated(before), encoding="utf-8")
