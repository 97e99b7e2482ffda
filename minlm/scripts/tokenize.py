"""Turn text files into files of token ids."""

import argparse
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli
from minlm.scripts.text_options import add_text_options, text_options


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "nlm-tokenize",
        "Turn each text into a .npy of token ids with <|endoftext|> behind every document: a.txt becomes a.npy.",
        "nlm-tokenize --inputs data/corpus/train.txt data/corpus/valid.txt --vocab_path data/tokenizer/vocab.json "
        "--merges_path data/tokenizer/merges.txt --output_dir data/tokens",
    )
    parser.add_argument("--inputs", nargs="+", required=True, metavar="FILE", help="UTF-8 texts")
    parser.add_argument("--vocab_path", required=True, metavar="FILE", help="vocab.json of the tokenizer")
    parser.add_argument("--merges_path", required=True, metavar="FILE", help="merges.txt of the tokenizer")
    parser.add_argument(
        "--special_tokens", nargs="+", default=["<|endoftext|>"], metavar="TOKEN",
        help="strings that are one token; <|endoftext|> must be among them",
    )  # fmt: skip
    parser.add_argument("--output_dir", default="tokenized_data", metavar="DIR", help="where to write the .npy files")
    parser.add_argument(
        "--output_dtype",
        choices=["uint16", "uint32", "int32", "int64"],
        help="integer type of the ids (default: uint16, or uint32 if the vocabulary needs more)",
    )
    add_text_options(parser)
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.bulk.encode_files import encode_files
    from minlm.tokenization import BPETokenizer

    tokenizer = BPETokenizer.from_files(
        arguments.vocab_path, arguments.merges_path, arguments.special_tokens, arguments.backend
    )
    options = text_options(arguments)
    for made in encode_files(tokenizer, arguments.inputs, arguments.output_dir, arguments.output_dtype, options):
        log.info(
            f"tokenize: {made.path}: {made.num_tokens:,} tokens ({made.dtype}) from {made.num_bytes / 1e6:.1f} MB, "
            f"{made.num_bytes / max(made.num_tokens, 1):.2f} bytes/token, {made.seconds:.1f} s"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
