"""Check conversations (.jsonl, also as .gz or .zst) and divide them into training and validation."""

import argparse

from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.collect_chat", __doc__, "--train 'chats/*.jsonl' --output_folder data/chat"
    )
    parser.add_argument("--train", nargs="+", required=True, metavar="FILE", help="Training files or quoted globs")
    parser.add_argument(
        "--valid", nargs="*", default=[], metavar="FILE", help="Validation files; without any, some are held out"
    )
    cli.add_setting(parser, "corpus.chat.valid_fraction")
    cli.add_setting(parser, "corpus.seed")
    parser.add_argument("--output_folder", required=True, metavar="FOLDER", help="Folder for the four files")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.corpus.chat import collect_chat

    counts = collect_chat(
        arguments.train, arguments.valid, arguments.output_folder, arguments.valid_fraction, arguments.seed
    )
    return f"wrote {arguments.output_folder}: {counts['train']:,} conversations, {counts['valid']:,} for validation,"


if __name__ == "__main__":
    main()
