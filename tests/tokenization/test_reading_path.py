"""The algorithm stays short, and docs/tokenizer.md states its true length."""

import re
from pathlib import Path

import minlm

ROOT = Path(minlm.__file__).parents[1]


def test_documented_lines_of_the_algorithm():
    page = (ROOT / "docs/tokenizer.md").read_text(encoding="utf-8")
    documented = {
        name: int(lines) for name, lines in re.findall(r"^\| `(\w+\.py)` \|.*\| (\d+) \|$", page, re.MULTILINE)
    }
    folder = ROOT / "minlm/tokenization"
    assert documented == {name: len((folder / name).read_text(encoding="utf-8").splitlines()) for name in documented}
    assert list(documented) == ["pretokenize.py", "linked_tokens.py", "train.py", "encode.py"]
    assert sum(documented.values()) <= 250
