"""Write a file of samples: each prompt continued with each setting."""

import argparse
import time
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "python -m minlm.scripts.sample",
        "Continue each prompt with each setting and write the texts to one file.",
        "python -m minlm.scripts.sample --checkpoint results/model.pt --vocab_path data/tokenizer/vocab.json "
        '--merges_path data/tokenizer/merges.txt --prompts "The" "In those days" --settings 0.7:0.9 1.0:none',
    )
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="the model (model.pt)")
    parser.add_argument("--vocab_path", required=True, metavar="FILE", help="the vocabulary it was trained with")
    parser.add_argument("--merges_path", required=True, metavar="FILE", help="the merges it was trained with")
    parser.add_argument("--prompts", nargs="+", required=True, metavar="TEXT", help='"" starts a new document')
    parser.add_argument(
        "--settings", nargs="+", required=True, metavar="T:P[:K]",
        help="temperature:top_p[:top_k], for example 0.7:0.9 or 1.0:none:40",
    )  # fmt: skip
    parser.add_argument(
        "--max_new_tokens", type=cli.whole(1, 10**6), default=256, metavar="N", help="new tokens in a text at most"
    )
    parser.add_argument(
        "--seed",
        type=cli.whole(0, cli.LARGEST_SEED),
        default=0,
        metavar="N",
        help="of the first text, the next has N + 1",
    )
    parser.add_argument("--device", help="cpu, cuda or mps (the best there is if absent)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (torch's choice if absent)")
    parser.add_argument("--output", default="results/samples.txt", metavar="FILE", help="file to write")
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.generation.load import load_with_tokenizer
    from minlm.generation.samples_file import Setting, generate_samples, write_samples
    from minlm.training.device import resolve_device, set_threads

    settings = [Setting.parse(text) for text in arguments.settings]
    set_threads(arguments.threads)
    model, tokenizer, info = load_with_tokenizer(
        arguments.checkpoint, arguments.vocab_path, arguments.merges_path, resolve_device(arguments.device)
    )
    start = time.perf_counter()
    samples = generate_samples(model, tokenizer, arguments.prompts, settings, arguments.max_new_tokens, arguments.seed)
    write_samples(arguments.output, samples, title=f"Samples of the model after {info['iteration']:,} training steps")
    count = sum(sample.new_tokens for sample in samples)
    log.info(
        f"wrote {arguments.output}: {len(samples)} samples, {count:,} tokens in {time.perf_counter() - start:.1f} s"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
