"""Turn each text into a .npy of token ids, with <|endoftext|> after every document: a.txt becomes a.npy."""

import argparse

from minlm.progress import log
from minlm.scripts import cli
from minlm.scripts.model_options import add_tokenizer_options
from minlm.scripts.text_options import add_text_options, text_options


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "nlm-tokenize", __doc__,
        "--inputs data/corpus/train.txt data/corpus/valid.txt --vocab_path data/tokenizer/vocab.json "
        "--merges_path data/tokenizer/merges.txt --output_dir data/tokens",
    )  # fmt: skip
    parser.add_argument("--inputs", nargs="+", required=True, metavar="FILE", help="UTF-8 texts")
    add_tokenizer_options(parser)
    cli.add_setting(
        parser, "tokenizer.special_tokens",
        description="Texts that are one token, besides those that the tokenizer's files name",
    )  # fmt: skip
    parser.add_argument("--output_dir", default="tokenized_data", metavar="DIR", help="Folder for the .npy files")
    cli.add_setting(parser, "tokenizer.output_dtype")
    add_text_options(parser)
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> None:
    from minlm.bulk.encode_files import encode_files
    from minlm.tokenization import BPETokenizer

    tokenizer = BPETokenizer.from_files(
        arguments.vocab_path, arguments.merges_path, arguments.special_tokens, arguments.backend
    )
    options = text_options(arguments)
    for file in encode_files(tokenizer, arguments.inputs, arguments.output_dir, arguments.output_dtype, options):
        log.info(
            f"tokenize: {file.path}: {file.num_tokens:,} tokens ({file.dtype}) from {file.num_bytes / 1e6:.1f} MB, "
            f"{file.num_bytes / max(file.num_tokens, 1):.2f} bytes/token, {file.seconds:.1f} s"
        )


if __name__ == "__main__":
    main()
