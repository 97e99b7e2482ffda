"""The floors of the package: a module imports only from its own folder and from the floors below it.

Imports inside functions count as well. `docs/architecture.md` draws the floors.
"""

import ast
from pathlib import Path

import pytest

import minlm

ROOT = Path(minlm.__file__).parent
GROUND = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
FLOORS = [  # from the top; the folders of one floor do not import each other
    {"scripts"},
    {"serve", "export"},
    {"reports"},
    {"generation"},
    {"training"},
    {"bulk"},
    {"fast"},
    {"corpus", "transformer"},
    {"tokenization"},
    {"pipeline"},  # the settings, and what the Snakefile imports
    GROUND,
]

# Arrows that point up, each for a reason.
ALLOWED = {
    # The door: `BPETokenizer` stays one public name whichever form of its parts runs, and trains on whole files.
    ("tokenization/backend.py", "minlm.fast.tokenization"),
    ("tokenization/backend.py", "minlm.fast.tokenization.kernels"),
    ("tokenization/backend.py", "minlm.fast.tokenization.word_counts"),
    ("tokenization/backend.py", "minlm.bulk.count_words"),
    ("tokenization/backend.py", "minlm.bulk.options"),
}


def imports(path: Path) -> set[str]:
    """The modules of minlm that a file imports, by absolute name, at its top or in a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ["minlm", *path.relative_to(ROOT).parent.parts]
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = {f"{module}.{alias.name}" for alias in node.names}
            found |= names if module == "minlm" else {module}
    return {name for name in found if name.startswith("minlm.")}


def part_of(path: Path) -> str:
    """The folder of a module, or its name if it is on the ground."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def floor_of(part: str) -> int:
    return next(number for number, parts in enumerate(FLOORS) if part in parts)


def may_import(part: str, other: str) -> bool:
    if part == other or other in GROUND:
        return True
    return floor_of(part) < floor_of(other)


MODULES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem != "__init__")


def test_every_folder_has_a_floor():
    assert {part_of(path) for path in MODULES} == set.union(*FLOORS)


def test_arrows_point_down():
    wrong = {
        (str(path.relative_to(ROOT)), name)
        for path in MODULES
        for name in imports(path)
        if not may_import(part_of(path), name.split(".")[1])
    }
    assert wrong - ALLOWED == set(), "these imports point up"
    assert wrong >= ALLOWED, "these exceptions are not needed any more"


def test_packages_have_no_cycle():
    arrows: dict[str, set[str]] = {}
    for path in MODULES:
        names = {name for name in imports(path) if (str(path.relative_to(ROOT)), name) not in ALLOWED}
        arrows.setdefault(part_of(path), set()).update(name.split(".")[1] for name in names)
    while arrows:
        bottom = {part for part, others in arrows.items() if not (others - {part}) & arrows.keys()}
        assert bottom, f"each of these packages imports another of them: {sorted(arrows)}"
        for part in bottom:
            del arrows[part]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import minlm.bulk.options", {"minlm.bulk.options"}),
        ("def f():\n    from minlm.bulk.options import Options", {"minlm.bulk.options"}),
        ("from minlm import progress", {"minlm.progress"}),
        ("from . import options", {"minlm.bulk"}),
        ("from ..fast import tokenization", {"minlm.fast"}),
        ("from numpy import array\nimport re", set()),
    ],
)
def test_imports_are_found(tmp_path, monkeypatch, source, expected):
    (tmp_path / "bulk").mkdir()
    (tmp_path / "bulk" / "module.py").write_text(source)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert imports(tmp_path / "bulk" / "module.py") == expected
