"""Run the whole pipeline with nlm-run's flags: print the Snakemake command that they stand for, then run it."""

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from minlm.pipeline.nlm_run import KEYS, RULES, check_folder, snakemake_command
from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "nlm-run",
        "Run everything from the download to the samples, as the flags say: a translator for people who know nlm-run. "
        "It prints the snakemake command that it runs. Without flags: the preset tinystories.",
        "nlm-run --d_model 256 --num_heads 8 --overwrite_train -- --cores 8 --dry-run",
    )
    parser.add_argument(
        "--with_ancients", action="store_true", help="mix in ancient books: the preset ancients instead of tinystories"
    )
    settings = parser.add_argument_group("settings", "each sets one key of the configuration")
    for flag, key in KEYS.items():
        if flag == "flash_attention":
            settings.add_argument(
                "--flash_attention", nargs="?", const="true", choices=["true", "false"], help=f"{key}; alone: true"
            )
        else:
            settings.add_argument(f"--{flag}", type=number, metavar="N", help=key)
    again = parser.add_argument_group("again", "each makes rules run again, whose results then replace those there are")
    for flag, rules in RULES.items():
        again.add_argument(f"--{flag}", action="store_true", help=" and ".join(rules))
    again.add_argument("--overwrite_all", action="store_true", help="everything, downloads too")
    parser.add_argument("snakemake", nargs="*", metavar="-- …", help="arguments for snakemake, for example -- -n")
    return parser


def number(text: str) -> str:
    """The text of a number; the configuration's schema knows which kind it must be."""
    float(text)
    return text


def _work(arguments: argparse.Namespace) -> None:
    check_folder(Path.cwd())
    command = snakemake_command(arguments)
    log.info(shlex.join(command))
    os.execvp(command[0], command)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
