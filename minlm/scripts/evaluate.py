"""Loss, perplexity and bits per byte of a model on validation text, beside two compressors on the same text. Several
processes, started as those of nlm-train, share the tokens."""

import argparse
import time

from minlm.documents import SEPARATOR
from minlm.progress import log
from minlm.scripts import cli
from minlm.scripts.model_options import add_model_options, load_model


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.evaluate", __doc__,
        "--checkpoint results/model.pt --tokens data/tokens/valid.npy --text data/corpus/valid.txt "
        "--vocab_path data/tokenizer/vocab.json --merges_path data/tokenizer/merges.txt",
    )  # fmt: skip
    add_model_options(parser)
    parser.add_argument("--tokens", required=True, metavar="FILE", help="Validation text as tokens (.npy)")
    parser.add_argument("--mask", nargs="?", metavar="FILE", help="Conversations: the mask of the tokens (.npy)")
    parser.add_argument("--text", required=True, metavar="FILE", help="Validation text, for the compressors")
    parser.add_argument("--batch_size", type=int, default=32, metavar="N", help="Windows evaluated at once")
    cli.add_device(parser)
    cli.add_threads(parser)
    parser.add_argument("--output", default="evaluation.json", metavar="FILE", help="File to write")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> None:
    from minlm.training.conversations import open_conversations
    from minlm.training.evaluation import evaluate, write_evaluation
    from minlm.training.processes import joined_processes
    from minlm.training.tokens import open_tokens
    from minlm.transformer.data import Tokens

    with joined_processes(arguments.device) as (processes, device):
        model, tokenizer, info = load_model(arguments, device)
        tokens: Tokens = open_tokens(arguments.tokens, model.config["vocab_size"], context_length=1)
        if arguments.mask:
            end = tokenizer.encode(SEPARATOR)[0]
            tokens = open_conversations(tokens, arguments.mask, model.config["context_length"], end)
        start = time.perf_counter()
        result = evaluate(
            model, tokens, tokenizer, arguments.text,
            batch_size=arguments.batch_size, iteration=info["iteration"], processes=processes,
        )  # fmt: skip
        if not processes.is_first:
            return
    write_evaluation(arguments.output, result)
    log.info(
        f"wrote {arguments.output}: {result['bits_per_byte']:.3f} bits/byte "
        f"(lzma {result['baseline']['lzma_bits_per_byte']:.3f}), {result['nats_per_token']:.3f} nats/token, "
        f"perplexity {result['perplexity']:.1f} on {result['tokens']:,} tokens in {time.perf_counter() - start:.1f} s"
    )


if __name__ == "__main__":
    main()
