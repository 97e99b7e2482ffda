"""Download one file. After a break, or when run again, it continues where it stopped."""

import argparse

from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.download", __doc__,
        "--output data/tinystories/valid.txt --url "
        "https://huggingface.co/datasets/roneneldan/TinyStories/resolve/main/TinyStoriesV2-GPT4-valid.txt",
    )  # fmt: skip
    parser.add_argument("--url", required=True, help="http or https address of the file")
    parser.add_argument("--output", required=True, metavar="FILE", help="File to write")
    parser.add_argument(
        "--sha256",
        default="",
        metavar="HEX",
        help="Expected checksum (default: the one that the server states, if any)",
    )
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.corpus.download import download

    size = download(arguments.url, arguments.output, arguments.sha256)
    return f"wrote {arguments.output} ({size / 1e6:,.1f} MB)"


if __name__ == "__main__":
    main()
