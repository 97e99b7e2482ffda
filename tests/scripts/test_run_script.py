"""nlm-run: each flag means the configuration, and the rules, that its documentation says."""

import os
import re
import shlex
from pathlib import Path

import pytest
import yaml
from checkout import Checkout
from snakemake.cli import parse_args, parse_config
from snakemake.utils import update_config

from minlm.pipeline.config import resolve
from minlm.pipeline.nlm_run import KEYS, RULES
from minlm.pipeline.settings import load_schema
from minlm.scripts import run

ROOT = Path(__file__).parents[2]

# Values unlike those of both presets.
GIVEN = {
    "request_delay": ("1.5", "ancients.request_delay", 1.5),
    "target_total_words": ("5000000", "corpus.target_total_words", 5_000_000),
    "vocab_size": ("8_000", "tokenizer.vocab_size", 8000),
    "context_length": ("128", "model.context_length", 128),
    "d_model": ("256", "model.d_model", 256),
    "num_layers": ("6", "model.num_layers", 6),
    "num_heads": ("8", "model.num_heads", 8),
    "d_ff": ("700", "model.d_ff", 700),
    "rope_theta": ("5e4", "model.rope_theta", 50_000.0),
    "flash_attention": ("false", "model.flash_attention", False),
    "batch_size": ("32", "training.batch_size", 32),
    "total_tokens": ("1e8", "training.total_tokens", 100_000_000),
    "lr_max": ("1e-3", "training.lr_max", 0.001),
    "lr_min": ("1e-5", "training.lr_min", 0.00001),
    "warmup_iters": ("500", "training.warmup_iters", 500),
    "weight_decay": ("0", "training.weight_decay", 0),
    "max_grad_norm": (".5", "training.max_grad_norm", 0.5),
}


@pytest.fixture
def words(monkeypatch, capsys):
    """The arguments that nlm-run gives to Snakemake for some flags."""

    def of(*flags: str) -> list[str]:
        executed = []
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(os, "execvp", lambda file, command: executed.append([file, command]))
        capsys.readouterr()  # Snakemake's own words so far
        run.main(flags)
        [[file, command]] = executed
        assert shlex.split(capsys.readouterr().err) == command  # what is printed can be pasted into a shell
        assert file == command[0]
        return command[command.index("snakemake") + 1 :]

    return of


@pytest.fixture
def command(words):
    """The same as Snakemake understands it."""
    return lambda *flags: parse_args(words(*flags))[1]


def configuration(arguments) -> dict:
    """The configuration that Snakemake and the Snakefile make of the command, next to config.yaml."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    for path in arguments.configfile:
        update_config(config, yaml.safe_load((ROOT / path).read_text()))
    update_config(config, parse_config(arguments.config))
    return resolve(config, load_schema())


def differences(one, other, prefix=""):
    """Dotted keys at which two configurations differ, with the values of the first."""
    found = {}
    for key in one:
        if isinstance(one[key], dict) and one[key]:
            found.update(differences(one[key], other[key], f"{prefix}{key}."))
        elif one[key] != other[key]:
            found[f"{prefix}{key}"] = one[key]
    return found


def test_without_flags_it_is_the_reference_run(command):
    arguments = command()
    assert arguments.targets == ["results/samples.txt"]
    assert arguments.cores == os.cpu_count()
    assert not arguments.forcerun
    assert not arguments.forceall
    values = configuration(arguments)
    assert values["corpus"]["source"] == "tinystories"
    assert values["ancients"]["share"] == 0
    assert values["model"]["d_model"] == 512
    assert values["training"]["total_tokens"] == 163_840_000


def test_each_flag_sets_its_key_and_no_other(command):
    assert GIVEN.keys() | {"ancient_share"} == KEYS.keys()
    plain = configuration(command())
    for flag, (text, key, value) in GIVEN.items():
        assert differences(configuration(command(f"--{flag}", text)), plain) == {key: value}


def test_flags_together(command):
    flags = [word for flag, (text, _, _) in GIVEN.items() for word in (f"--{flag}", text)]
    expected = {key: value for _, key, value in GIVEN.values()}
    assert differences(configuration(command(*flags)), configuration(command())) == expected


def test_ancient_books(command):
    reference = configuration(command("--with_ancients"))
    assert reference["ancients"]["share"] == 0.4
    assert reference["corpus"]["source"] == "tinystories"
    other = configuration(command("--with_ancients", "--ancient_share", "0.25"))
    assert differences(other, reference) == {"ancients.share": 0.25}


def test_flash_attention_alone_turns_it_on(command):
    assert command("--flash_attention", "--", "-n").config == ["model={flash_attention: true}"]


@pytest.mark.parametrize("flag", [*RULES, "overwrite_all"])
def test_overwriting_forces_the_rules(command, flag):
    arguments = command("--with_ancients", f"--{flag}")
    assert arguments.forceall == (flag == "overwrite_all")
    assert arguments.forcerun == set(RULES.get(flag, []))


def test_snakemakes_own_arguments_pass_through(command):
    arguments = command(
        "--lr_max", "1e-3", "--overwrite_train", "--",
        "results/report.html", "--cores", "3", "-n", "--config", "training={seed: 7}", "model={d_ff: 9}",
        "--forcerun", "sample", "--configfile=mine.yaml",
    )  # fmt: skip
    assert arguments.targets == ["results/samples.txt", "results/report.html"]
    assert arguments.cores == 3
    assert arguments.dryrun
    assert arguments.forcerun == {"train", "sample"}
    assert arguments.configfile == [Path("workflow/presets/tinystories.yaml"), Path("mine.yaml")]
    assert parse_config(arguments.config) == {"training": {"lr_max": "1e-3", "seed": "7"}, "model": {"d_ff": "9"}}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ancient_share", "0.3"], "--ancient_share is about ancient books, which are not in this run"),
        (["--overwrite_ancient"], "--overwrite_ancient is about ancient books, which are not in this run"),
    ],
)
def test_flags_that_need_ancient_books(flags, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match="1"):
        run.main(flags)
    assert f"{message}. Add --with_ancients." in capsys.readouterr().err


def test_a_word_where_a_number_belongs(capsys):
    with pytest.raises(SystemExit, match="2"):
        run.main(["--d_model", "wide"])
    assert "argument --d_model: invalid number value: 'wide'" in capsys.readouterr().err


def test_elsewhere_it_says_where_to_go(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()  # somebody else's
    with pytest.raises(SystemExit, match="1"):
        run.main([])
    assert f"{tmp_path} is not minlm's checkout" in (message := capsys.readouterr().err)
    assert f"First cd {ROOT}." in message


def test_the_documentation_names_every_flag():
    flags = {word for action in run.build_parser()._actions for word in action.option_strings} - {"-h", "--help"}
    page = (ROOT / "docs/coming-from-nlm-run.md").read_text()
    rows = dict(re.findall(r"^\| `(--\w+)[^|]*\| (.+)$", page.split("## Defaults that changed")[0], re.M))
    assert rows.keys() == flags - {"--log_file"}
    for flag, key in KEYS.items():
        assert f"`{key}`" in rows[f"--{flag}"]
    for flag, rules in RULES.items():
        assert f"--forcerun {' '.join(rules)}`" in rows[f"--{flag}"]


def test_a_flag_that_a_command_replaces(capsys):
    with pytest.raises(SystemExit, match="2"):
        run.main(["--count_only"])
    assert "Instead, run: snakemake --cores 1 data/ancients/selection.csv" in capsys.readouterr().err


def test_forced_rules_exist():
    workflow = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    for rule in (rule for rules in RULES.values() for rule in rules):
        assert re.search(rf"^(rule|checkpoint) {rule}:$", workflow, re.M)


# Everything that a run with ancient books makes.
MADE = """
data/tinystories/train.txt data/tinystories/valid.txt
data/ancients/catalog.jsonl data/ancients/books/1.txt data/ancients/clean/1.txt
data/ancients/train.txt data/ancients/valid.txt
data/corpus/train.txt data/corpus/valid.txt data/corpus/mixture.json
data/tokenizer/word_counts.npz data/tokenizer/vocab.json data/tokenizer/merges.txt
data/tokens/train.npy data/tokens/valid.npy results/bigram.pt results/model.pt results/metrics.csv results/samples.txt
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Checkout:
    """A checkout in which everything is there already."""
    checkout = Checkout(tmp_path_factory.mktemp("finished"))
    selection = checkout.folder / "data/ancients/selection.csv"
    selection.parent.mkdir(parents=True)
    selection.write_text("gutenberg_id,kept\n1,yes\n")
    for path in (checkout.folder / name for name in MADE.split()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (selection.stat().st_mtime,) * 2)
    return checkout


AFTER_MIX = ["count_words", "train_tokenizer", "tokenize", "fit_bigram", "train", "sample"]


@pytest.mark.parametrize(
    ("flags", "forced", "behind"),
    [
        (["--overwrite_download"], {"download_tinystories"}, {"mix", *AFTER_MIX}),
        (["--overwrite_mixed"], {"mix"}, set(AFTER_MIX)),
        (["--overwrite_tokenizer"], {"count_words"}, {"train_tokenizer", "tokenize", "fit_bigram", "train", "sample"}),
        (["--overwrite_tokenize"], {"tokenize"}, {"fit_bigram", "train", "sample"}),
        (["--overwrite_train"], {"train"}, {"sample"}),
        (["--overwrite_all"], {"download_tinystories", "mix", *AFTER_MIX}, set()),
        # fetch_book comes when the new catalog is there
        (
            ["--with_ancients", "--overwrite_ancient"],
            {"catalog"},
            {"selection", "build_ancients", "mix", *AFTER_MIX},
        ),
    ],
)
def test_what_is_overwritten(finished, words, flags, forced, behind):
    output = finished.run(*words(*flags, "--", "--dry-run"))
    reasons = re.findall(r"^(\w+)[^:\n]*: Forced execution", output, re.M)
    table = output.split("Job stats:")[1].split("\n\n")[0]
    assert set(reasons) == forced
    assert set(re.findall(r"^(\w+) +\d+$", table, re.M)) - {"total"} == forced | behind


def test_all_settings_together_are_a_run(finished, words):
    flags = [word for flag, (text, _, _) in GIVEN.items() for word in (f"--{flag}", text)]
    output = finished.run(*words("--overwrite_train", *flags, "--", "--dry-run"))
    assert re.search(r"^train +1$", output, re.M)
