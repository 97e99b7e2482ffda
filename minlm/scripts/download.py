"""Download one file, resuming after breaks, and check it."""

import argparse
import time
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.download",
        "Download one file. After a break, or when run again, it goes on where it was.",
        "python -m minlm.scripts.download --output data/tinystories/valid.txt --url "
        "https://huggingface.co/datasets/roneneldan/TinyStories/resolve/main/TinyStoriesV2-GPT4-valid.txt",
    )
    parser.add_argument("--url", required=True, help="http or https address of the file")
    parser.add_argument("--output", required=True, metavar="FILE", help="file to write")
    parser.add_argument(
        "--sha256", default="", metavar="HEX", help="expected checksum (default: the one that the server names, if any)"
    )
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.corpus.download import download

    start = time.perf_counter()
    size = download(arguments.url, arguments.output, arguments.sha256)
    log.info(f"wrote {arguments.output} ({size / 1e6:,.1f} MB) in {time.perf_counter() - start:.1f} s")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
