"""Turn conversations into a .npy of token ids and a .mask.npy of the assistant's: a.jsonl becomes a.npy, a.mask.npy."""

import argparse

from minlm.scripts import cli
from minlm.scripts.model_options import add_tokenizer_options


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.tokenize_chat", __doc__,
        "--input data/chat/train.jsonl --vocab_path data/tokenizer/vocab.json \\\n"
        "    --merges_path data/tokenizer/merges.txt --output_dir data/tokens",
    )  # fmt: skip
    parser.add_argument("--input", required=True, metavar="FILE", help="Conversations (.jsonl)")
    add_tokenizer_options(parser)
    parser.add_argument("--output_dir", required=True, metavar="DIR", help="Folder for the two files")
    cli.add_setting(parser, "tokenizer.output_dtype")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.bulk.encode_chat import encode_chat_file
    from minlm.tokenization import BPETokenizer

    tokenizer = BPETokenizer.from_files(arguments.vocab_path, arguments.merges_path)
    tokens, learned = encode_chat_file(tokenizer, arguments.input, arguments.output_dir, arguments.output_dtype)
    return f"tokenize_chat: {arguments.input}: {tokens:,} tokens, {learned:,} of them the assistant's,"


if __name__ == "__main__":
    main()
