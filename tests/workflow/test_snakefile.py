"""The Snakefile as Snakemake and its linter see it."""

import re

import pytest
import yaml
from checkout import ROOT, snakemake

OUTSIDE = r"Shell command directly uses variable (\w+) from outside of the rule"


def test_lint_is_clean_but_for_settings_that_must_not_re_run_anything():
    """`Shell command directly uses variable`: settings with `x-reruns: nothing` and the choice of Python are outside
    `params` on purpose, so that changing them re-runs nothing.
    """
    titles = re.findall(r"^    \* (.*):$", snakemake("--lint")[1], re.M)
    outside = {match[1] for title in titles if (match := re.fullmatch(OUTSIDE, title))}
    assert [title for title in titles if not re.fullmatch(OUTSIDE, title)] == []
    assert outside == {"DEVICE", "DELAY", "COMPUTING", "PYTHON"}


def test_every_rule_has_log_benchmark_message_threads_resources_and_one_script():
    rules = {}
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for name, body in re.findall(r"^(?:rule|checkpoint) (\w+):\n(.*?)(?=^\S|\Z)", path.read_text(), re.M | re.S):
            rules[name] = body
    assert len(rules) > 10
    for name, body in rules.items():
        # Snakemake allows no benchmark where a result may come from its cache
        measured = "cache" if re.search(r"^    cache:", body, re.M) else "benchmark"
        for directive in ("log", measured, "message", "threads", "resources", "conda", "shell"):
            assert re.search(rf"^    {directive}:", body, re.M), f"{name} lacks {directive}"
        if name != "link":  # that is `ln`
            (script,) = re.findall(r" -m minlm\.scripts\.(\w+)", body)
            assert (ROOT / f"minlm/scripts/{script}.py").is_file()


@pytest.mark.parametrize("preset", ["tinystories", "ancients"])
def test_presets_plan(preset, tmp_path):
    _, output = snakemake(
        "-n", "results/samples.txt", "--cores", "2", "-s", str(ROOT / "Snakefile"), "--directory", str(tmp_path),
        "--configfile", str(ROOT / "config.yaml"), str(ROOT / f"workflow/presets/{preset}.yaml"),
    )  # fmt: skip
    rules = set(re.findall(r"^(\w+) +\d+$", output, re.M))
    assert {"download_tinystories", "mix", "train", "sample"} <= rules
    assert ({"catalog", "selection", "build_ancients"} <= rules) == (preset == "ancients")


def test_a_configuration_error_is_a_short_block_without_traceback():
    status, output = snakemake(
        "-n", "--cores", "1", "--config", "model={d_modle: 3, num_heads: 5}", "smapling={seed: 1}"
    )
    assert status == 1
    lines = output.splitlines()
    start = lines.index("Error: the configuration has 2 problems:")
    assert [line.split(":")[0].strip() for line in lines[start + 1 :]] == ["model.d_modle", "smapling"]
    assert "Did you mean model.d_model?" in lines[start + 1]


def test_default_profile_is_loaded_by_itself():
    profile = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())
    assert profile["max-checksum-file-size"] == 0
    assert "profiles/default" in snakemake("-n", "--cores", "1")[1]
