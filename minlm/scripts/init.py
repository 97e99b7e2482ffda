"""Start a project: `minlm init FOLDER` writes the Snakefile, the rules, the profiles and a configuration into a folder.
Run `snakemake` there, as in a checkout of minlm's repository."""

import argparse
import shlex

from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser("minlm", __doc__, "init stories")
    parser.add_argument("command", choices=["init"], help="What to do")
    parser.add_argument("folder", metavar="FOLDER", help="Folder of the project; created if it does not exist")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> None:
    from minlm.pipeline.project import make_project
    from minlm.progress import log

    folder = make_project(arguments.folder)
    log.info(
        f"wrote a project to {folder}/; config.yaml there has the settings. To train the small model:\n"
        f"  cd {shlex.quote(str(folder))}\n"
        "  snakemake --cores all results/samples.txt"
    )


if __name__ == "__main__":
    main()
