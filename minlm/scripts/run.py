"""Run everything from the download to the samples, with the flags of nlm-run. The program translates them into a
Snakemake command, prints it and runs it. Without flags: the preset tinystories."""

import argparse
import os
import shlex
from pathlib import Path

from minlm.pipeline.nlm_run import KEYS, RULES, check_folder, snakemake_command
from minlm.pipeline.settings import find
from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser("nlm-run", __doc__, "--d_model 256 --num_heads 8 --overwrite_train -- --cores 8 --dry-run")
    parser.add_argument(
        "--with_ancients", action="store_true", help="Mix in ancient books: the preset ancients instead of tinystories"
    )
    settings = parser.add_argument_group("settings", "each sets one key of the configuration")
    for flag, key in KEYS.items():
        help_ = f"{key}: {cli.sentence(find(key))}"
        if find(key)["type"] == "boolean":
            settings.add_argument(f"--{flag}", nargs="?", const="true", choices=["true", "false"], help=help_)
        else:
            settings.add_argument(f"--{flag}", type=number, metavar="N", help=help_)
    again = parser.add_argument_group("again", "each runs rules again and replaces their results")
    for flag, rules in RULES.items():
        again.add_argument(f"--{flag}", action="store_true", help=" and ".join(rules))
    again.add_argument("--overwrite_all", action="store_true", help="Everything, including downloads")
    parser.add_argument("snakemake", nargs="*", metavar="-- …", help="Arguments for snakemake, for example -- -n")
    return parser


def number(text: str) -> str:
    """The text of a number, unchanged: Snakemake checks it against the schema."""
    float(text)
    return text


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> None:
    check_folder(Path.cwd())
    command = snakemake_command(arguments)
    log.info(shlex.join(command))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
