"""docs/reading.md points at the right lines, and the reading path stays short."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATH = ("modules", "attention", "model", "optim", "data", "sampling", "loop")


def test_line_numbers_are_up_to_date():
    text = (ROOT / "docs/reading.md").read_text(encoding="utf-8")
    updated = runpy.run_path(str(ROOT / "docs/line_numbers.py"))["updated"]
    assert updated(text) == text, "run `make docs`"
    assert text.count(".py:") > 25


def test_model_training_and_sampling_are_at_most_750_lines():
    files = [ROOT / f"minlm/transformer/{name}.py" for name in PATH]
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files) <= 750
    loop = files[-1].read_text(encoding="utf-8")
    assert len(loop.splitlines()) <= 150
