"""Train a byte-level BPE tokenizer. For data/train.txt it writes train_vocab.json and train_merges.txt."""

import argparse

from minlm.progress import log
from minlm.scripts import cli
from minlm.scripts.text_options import add_text_options, text_options


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "nlm-train-tokenizer", __doc__, "data/corpus/train.txt --vocab_size 2048 --output_dir data/tokenizer"
    )
    parser.add_argument("input_file", help="UTF-8 text, or word counts (.npz) of count_words")
    cli.add_settings(parser, "tokenizer", "vocab_size", "pattern", "special_tokens")
    parser.add_argument("--output_dir", default=".", metavar="DIR", help="Folder for the two files")
    parser.add_argument(
        "--prefix", metavar="NAME", help="Start of the two file names (default: the input's name and _)"
    )
    parser.add_argument("--profile", action="store_true", help="Also print the time of each part")
    add_text_options(parser, shards=False)
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> None:
    from minlm.bulk.train_tokenizer import train_tokenizer
    from minlm.tokenization.vocabulary_files import read_vocab

    result = train_tokenizer(
        arguments.input_file, arguments.output_dir, arguments.prefix, arguments.vocab_size, arguments.special_tokens,
        text_options(arguments), arguments.pattern,
    )  # fmt: skip
    special = {token.encode() for token in arguments.special_tokens}
    learned = [token for _, token in sorted(read_vocab(result.vocab_path).items()) if token not in special]
    longest = max(learned, key=len)
    log.info(f"longest token: {longest.decode(errors='replace')!r} ({len(longest)} bytes)")
    log.info(
        f"train_tokenizer: {result.vocab_path} and {result.merges_path}: {result.num_tokens:,} tokens, "
        f"{result.num_merges:,} merges, {sum(result.seconds.values()):.1f} s"
    )
    if arguments.profile:
        for name, seconds in result.seconds.items():
            log.info(f"  {name:<9}{seconds:9.3f} s")


if __name__ == "__main__":
    main()
