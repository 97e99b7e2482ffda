"""Serve a web page on which a trained model continues a prompt, token by token, with the probability of each. Ctrl-C
ends it."""

import argparse

from minlm.progress import log
from minlm.scripts import cli
from minlm.scripts.model_options import add_model_options, load_model


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "nlm-serve", __doc__,
        "--checkpoint results/model.pt --vocab_path data/tokenizer/vocab.json --merges_path data/tokenizer/merges.txt",
    )  # fmt: skip
    add_model_options(parser)
    cli.add_device(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="Name or address to listen on; the default is for this machine alone"
    )
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="Port to listen on; 0 is any free one")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> None:
    from minlm.serve.server import Server

    server = Server(arguments.host, arguments.port)  # first: it fails quickly
    model, tokenizer, info = load_model(arguments)
    if not server.is_private:
        log.info(f"Everybody who reaches port {server.port} of this machine can let the model write.")
    log.info(f"{arguments.checkpoint} writes at {server.url} (Ctrl-C ends it)")
    server.serve(model, tokenizer, f"{arguments.checkpoint} after {info['iteration']:,} training steps")
    log.info("stopped")


if __name__ == "__main__":
    main()
