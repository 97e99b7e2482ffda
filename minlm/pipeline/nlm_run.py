"""The flags of `nlm-run` as a Snakemake command: each sets one setting or runs a rule again.

docs/coming-from-nlm-run.md has the table for users.
"""

import shutil
import sys
from argparse import Namespace
from pathlib import Path

from minlm.errors import MinlmError

TARGET = "results/samples.txt"
PRESET, PRESET_WITH_ANCIENTS = "workflow/presets/tinystories.yaml", "workflow/presets/ancients.yaml"

KEYS = {
    "ancient_share": "ancients.share",
    "request_delay": "ancients.request_delay",
    "target_total_words": "corpus.target_total_words",
    "vocab_size": "tokenizer.vocab_size",
    "context_length": "model.context_length",
    "d_model": "model.d_model",
    "num_layers": "model.num_layers",
    "num_heads": "model.num_heads",
    "d_ff": "model.d_ff",
    "rope_theta": "model.rope_theta",
    "flash_attention": "model.flash_attention",
    "batch_size": "training.batch_size",
    "total_tokens": "training.total_tokens",
    "lr_max": "training.lr_max",
    "lr_min": "training.lr_min",
    "warmup_iters": "training.warmup_iters",
    "weight_decay": "training.weight_decay",
    "max_grad_norm": "training.max_grad_norm",
}

# Snakemake also runs again what depends on these rules.
RULES = {
    "overwrite_download": ["download_tinystories"],
    "overwrite_ancient": ["catalog", "fetch_book"],
    "overwrite_mixed": ["mix"],
    "overwrite_tokenizer": ["count_words", "train_tokenizer"],
    "overwrite_tokenize": ["tokenize"],
    "overwrite_train": ["train"],
}

# Snakemake's own options for how much runs at once.
SIZES = ("-c", "--cores", "-j", "--jobs", "--profile", "--executor")


def snakemake_command(arguments: Namespace) -> list[str]:
    """The words of the Snakemake command that does what the flags say.

    Args:
        arguments: for each of `KEYS` a value, None if not given; for each of `RULES`, `with_ancients` and
            `overwrite_all` true or false; `snakemake`, the words for Snakemake itself.

    Raises:
        MinlmError: a flag about ancient books without `with_ancients`.
    """
    for flag in ("ancient_share", "overwrite_ancient"):
        if getattr(arguments, flag) not in (None, False) and not arguments.with_ancients:
            raise MinlmError(f"--{flag} is about ancient books, which are not in this run. Add --with_ancients.")

    words = [*_snakemake(), TARGET]
    if not any(word.startswith(SIZES) for word in arguments.snakemake):
        words += ["--cores", "all"]
    words += arguments.snakemake
    if arguments.overwrite_all:
        words.append("--forceall")
    # These three take everything that follows, and their last occurrence counts.
    forced = [rule for flag, rules in RULES.items() if getattr(arguments, flag) for rule in rules]
    words = _with_values(words, ("--forcerun", "-R"), forced)
    preset = PRESET_WITH_ANCIENTS if arguments.with_ancients else PRESET
    words = _with_values(words, ("--configfile", "--configfiles"), [preset])
    return _with_values(words, ("--config", "-C"), _settings(arguments))


def check_folder(folder: Path) -> None:
    """Make sure that `folder` is a checkout of minlm: Snakemake needs its Snakefile and workflow/.

    Raises:
        MinlmError: it is not; says where to go.
    """
    if (folder / "Snakefile").is_file() and (folder / PRESET).is_file():
        return
    checkout = Path(__file__).parents[2]  # of an editable installation
    there = f"cd {checkout}" if (checkout / "Snakefile").is_file() else "cd to the clone of minlm's repository"
    raise MinlmError(f"{folder} is not minlm's checkout, the folder with its Snakefile and workflow/. First {there}.")


def _snakemake() -> list[str]:
    """The command of the Snakemake that belongs to this Python: one word if that is the one on the PATH."""
    on_path = shutil.which("snakemake")
    if on_path and Path(on_path).parent == Path(sys.executable).parent:
        return ["snakemake"]
    return [sys.executable, "-m", "snakemake"]


def _settings(arguments: Namespace) -> list[str]:
    """The arguments of `--config`, one for each section: `model={d_model: 256, num_heads: 8}`."""
    sections: dict[str, list[str]] = {}
    for flag, dotted in KEYS.items():
        if (value := getattr(arguments, flag)) is not None:
            section, key = dotted.split(".")
            sections.setdefault(section, []).append(f"{key}: {value}")
    return [f"{section}={{{', '.join(pairs)}}}" for section, pairs in sections.items()]


def _with_values(words: list[str], names: tuple[str, str], values: list[str]) -> list[str]:
    """`words` with values for an option, before those that it already has, so that the user's own win."""
    for i, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in names:
            return [*words[:i], name, *values, *([value] if value else []), *words[i + 1 :]]
    return [*words, names[0], *values] if values else words
