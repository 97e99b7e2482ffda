"""`minlm init`, and the message about a missing plugin."""

import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT, snakemake

from minlm.errors import MinlmError
from minlm.pipeline import project
from minlm.pipeline.plugins import executor


def files(folder):
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}


def test_a_new_project_has_what_the_checkout_has_and_plans(tmp_path):
    made = project.make_project(tmp_path / "stories")
    assert {"Snakefile", "config.yaml", "profiles/default/config.yaml", "workflow/rules/model.smk"} <= files(made)
    assert (made / "config.yaml").read_bytes() == (ROOT / "config.yaml").read_bytes()
    status, output = snakemake("-n", "--cores", "1", "results/samples.txt", folder=made)
    assert status == 0, output
    with pytest.raises(MinlmError, match=r"already has Snakefile, config\.yaml"):
        project.make_project(made)


def test_setup_py_packs_the_files_that_init_copies():
    listed = next(line for line in (ROOT / "setup.py").read_text().splitlines() if line.startswith("PROJECT"))
    assert listed.partition("  #")[0] == f"PROJECT = {project.PROJECT!r}".replace("'", '"')


@pytest.mark.slow
def test_a_wheel_has_the_project(tmp_path):
    """Builds a wheel without network and starts a project with what is in it."""
    tree = tmp_path / "tree"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(tree)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed, made = tmp_path / "installed", tmp_path / "stories"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(installed), str(wheel)], check=True)
    run = {"cwd": tmp_path, "env": {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(installed)}, "check": True}
    subprocess.run([sys.executable, "-P", "-m", "minlm.scripts.init", "init", "stories"], **run)
    assert files(made) - {".gitignore"} == files(installed / "minlm/project")
    subprocess.run(
        [sys.executable, "-P", "-m", "snakemake", "-n", "-d", str(made), "-s", str(made / "Snakefile")], **run
    )


def test_a_missing_plugin_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"minlm\[cluster-generic\]"):
        executor("cluster-generic")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "snakemake_executor_plugin_cluster_generic")
    assert executor("cluster-generic") == "cluster-generic"
