"""Measure a trained model on the validation text."""

import argparse
import time
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.evaluate",
        "Loss, perplexity and bits per byte of a model on validation text, beside two compressors on the same text.",
        "python -m minlm.scripts.evaluate --checkpoint results/model.pt --tokens data/tokens/valid.npy "
        "--text data/corpus/valid.txt --vocab_path data/tokenizer/vocab.json --merges_path data/tokenizer/merges.txt",
    )
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="the model (model.pt)")
    parser.add_argument("--tokens", required=True, metavar="FILE", help="the validation text as tokens (.npy)")
    parser.add_argument("--text", required=True, metavar="FILE", help="the validation text, for the compressors")
    parser.add_argument("--vocab_path", required=True, metavar="FILE", help="the vocabulary it was trained with")
    parser.add_argument("--merges_path", required=True, metavar="FILE", help="the merges it was trained with")
    parser.add_argument("--batch_size", type=int, default=32, metavar="N", help="windows at a time")
    parser.add_argument("--device", help="cpu, cuda or mps (the best there is if absent)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (torch's choice if absent)")
    parser.add_argument("--output", default="evaluation.json", metavar="FILE", help="file to write")
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.generation.load import load_with_tokenizer
    from minlm.training.device import resolve_device, set_threads
    from minlm.training.evaluation import evaluate, write_evaluation
    from minlm.training.tokens import open_tokens

    set_threads(arguments.threads)
    device = resolve_device(arguments.device)
    model, tokenizer, info = load_with_tokenizer(
        arguments.checkpoint, arguments.vocab_path, arguments.merges_path, device
    )
    tokens = open_tokens(arguments.tokens, model.config["vocab_size"], context_length=1)
    start = time.perf_counter()
    result = evaluate(
        model,
        tokens,
        tokenizer,
        arguments.text,
        batch_size=arguments.batch_size,
        device=device,
        iteration=info["iteration"],
    )
    write_evaluation(arguments.output, result)
    log.info(
        f"wrote {arguments.output}: {result['bits_per_byte']:.3f} bits/byte "
        f"(lzma {result['baseline']['lzma_bits_per_byte']:.3f}), {result['nats_per_token']:.3f} nats/token, "
        f"perplexity {result['perplexity']:.1f} on {result['tokens']:,} tokens in {time.perf_counter() - start:.1f} s"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
