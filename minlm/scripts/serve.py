"""Serve a local web page on which a trained model writes."""

import argparse
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "nlm-serve",
        "Serve a web page on which a trained model continues a prompt, token by token, with the probability of each. "
        "Ctrl-C ends it.",
        "nlm-serve --checkpoint results/model.pt --vocab_path data/tokenizer/vocab.json "
        "--merges_path data/tokenizer/merges.txt",
    )
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="the model (model.pt)")
    parser.add_argument("--vocab_path", required=True, metavar="FILE", help="the vocabulary it was trained with")
    parser.add_argument("--merges_path", required=True, metavar="FILE", help="the merges it was trained with")
    parser.add_argument("--device", help="cpu, cuda or mps (the best there is if absent)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="name or address to listen at; this one is for this machine alone"
    )
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="to listen at; 0 is any free one")
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.generation.load import load_with_tokenizer
    from minlm.serve.server import Server
    from minlm.training.device import resolve_device, set_threads

    server = Server(arguments.host, arguments.port)  # first: it is quick to fail
    set_threads()
    model, tokenizer, info = load_with_tokenizer(
        arguments.checkpoint, arguments.vocab_path, arguments.merges_path, resolve_device(arguments.device)
    )
    if not server.is_private:
        log.info(f"Everybody who reaches port {server.port} of this machine can let the model write.")
    log.info(f"{arguments.checkpoint} writes at {server.url} (Ctrl-C ends it)")
    server.serve(model, tokenizer, f"{arguments.checkpoint} after {info['iteration']:,} training steps")
    log.info("stopped")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
