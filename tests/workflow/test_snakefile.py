"""The Snakefile as Snakemake and its linter see it."""

import re

import pytest
import yaml
from checkout import ROOT, snakemake

EXECUTION = (  # settings that re-run nothing
    "training={device: cpu, devices: 2, compile: 'off', grad_accum_steps: 2, gradient_checkpointing: true, "
    "save_interval: 77, log_to_wandb: true, log_to: [tensorboard]}"
)


def test_lint_is_clean():
    status, output = snakemake("--lint")
    assert status == 0, output
    assert "your workflow is in a good condition" in output


def test_settings_that_re_run_nothing_reach_the_commands_and_jobs_can_be_grouped(tmp_path):
    """If they were string resources, Snakemake could not group jobs that have one with jobs that have none."""
    _, output = snakemake(
        "-n", "-p", "--cores", "2", "-s", str(ROOT / "Snakefile"), "--directory", str(tmp_path),
        "--groups", "train=model", "plot=model", "evaluate=model", "sample=model",
        "--configfile", str(ROOT / "config.yaml"), "--config", EXECUTION,
    )  # fmt: skip
    commands = {name: command for command, name in re.findall(r"(job python .*-m minlm\.scripts\.(\w+) .*)", output)}
    assert {"train", "plot", "evaluate", "sample"} <= set(commands)
    assert commands["train"].startswith(
        "job python -m torch.distributed.run --standalone --nproc-per-node 2 -m minlm.scripts.train "
    )
    for flag in (
        "compile=off",
        "grad_accum_steps=2",
        "gradient_checkpointing=true",
        "save_interval=77",
        "log_to_wandb=true",
        "log_to=tensorboard",
    ):
        assert f" --{flag} " in commands["train"]
    for name in ("train", "evaluate", "sample"):
        assert " --device=cpu " in commands[name]
    assert "--devices" not in commands["train"]


def test_every_rule_has_log_benchmark_message_resources_and_one_script():
    rules = {}
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for name, body in re.findall(r"^(?:rule|checkpoint) (\w+):\n(.*?)(?=^\S|\Z)", path.read_text(), re.M | re.S):
            rules[name] = body
    assert len(rules) > 10
    for name, body in rules.items():
        # Snakemake allows no benchmark for a rule that may use its cache
        measured = "cache" if re.search(r"^    cache:", body, re.M) else "benchmark"
        for directive in ("log", measured, "message", "resources", "conda", "shell"):
            assert re.search(rf"^    {directive}:", body, re.M), f"{name} lacks {directive}"
        if name != "link":  # that is `ln`
            (script,) = re.findall(r" -m minlm\.scripts\.(\w+)", body)
            assert (ROOT / f"minlm/scripts/{script}.py").is_file()


@pytest.mark.parametrize("preset", ["tinystories", "ancients", "fineweb_edu"])
def test_presets_plan(preset, tmp_path):
    _, output = snakemake(
        "-n", "results/samples.txt", "--cores", "2", "-s", str(ROOT / "Snakefile"), "--directory", str(tmp_path),
        "--configfile", str(ROOT / "config.yaml"), str(ROOT / f"workflow/presets/{preset}.yaml"),
    )  # fmt: skip
    rules = set(re.findall(r"^(\w+) +\d+$", output, re.M))
    assert {"download_url" if preset == "fineweb_edu" else "download_tinystories", "mix", "train", "sample"} <= rules
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


def test_an_anchor_that_contains_itself_is_a_short_error(tmp_path):
    (tmp_path / "config.yaml").write_text("model: &model\n  d_model: *model\n")
    status, output = snakemake("-n", "--cores", "1", "-s", str(ROOT / "Snakefile"), "--directory", str(tmp_path))
    assert status == 1
    assert output.splitlines()[-1] == "Error: config.yaml: an anchor (&) contains itself. Write its values out."
    assert "Recursion" not in output


def test_default_profile_is_loaded_by_itself():
    profile = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())
    assert profile["max-checksum-file-size"] == 0
    assert "profiles/default" in snakemake("-n", "--cores", "1")[1]


def test_a_run_with_a_name_has_its_own_results_and_shares_the_data(tmp_path):
    _, output = snakemake(
        "-n", "--cores", "2", "-s", str(ROOT / "Snakefile"), "--directory", str(tmp_path), "--config", "run=wide",
        "experiments={small: {model.d_model: 96}}",
    )  # fmt: skip
    assert re.search(r"^train: .*results/wide/model\.pt", output, re.M)
    assert re.search(r"^tokenize train: .*data/tokens/train\.npy", output, re.M)
    assert not re.search(r" results/(?!wide/)", output)
    status, output = snakemake("-n", "--cores", "2", "--config", "run=plots")
    assert status == 1
    assert "run: 'plots' is not allowed" in output
