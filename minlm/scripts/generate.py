"""Print texts that a trained model writes."""

import argparse
import sys
import time
from collections.abc import Sequence

from minlm.errors import MinlmError
from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "nlm-generate",
        "Continue a prompt with a trained model and print the text, at a terminal as it comes. The model's shape comes "
        "from its checkpoint.",
        "nlm-generate --checkpoint results/model.pt --vocab_path data/tokenizer/vocab.json "
        '--merges_path data/tokenizer/merges.txt --prompt "In those days" --temperature 0.8 --top_p 0.9',
    )
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="the model (model.pt)")
    parser.add_argument("--vocab_path", required=True, metavar="FILE", help="the vocabulary it was trained with")
    parser.add_argument("--merges_path", required=True, metavar="FILE", help="the merges it was trained with")
    parser.add_argument("--prompt", default="", help="text to continue; an empty prompt starts a new document")
    parser.add_argument("--max_tokens", type=cli.whole(1, 10**6), default=100, metavar="N", help="new tokens at most")
    parser.add_argument(
        "--temperature", type=float, default=1.0, metavar="T", help="0 takes the likeliest token, above 1 is wilder"
    )
    parser.add_argument(
        "--top_p", type=float, metavar="P", help="draw from the most probable tokens that reach P (all if absent)"
    )
    parser.add_argument("--top_k", type=int, metavar="K", help="draw from the K most probable tokens (all if absent)")
    parser.add_argument("--num_samples", type=int, default=1, metavar="N", help="texts to write")
    parser.add_argument("--device", help="cpu, cuda or mps (the best there is if absent)")
    parser.add_argument(
        "--seed",
        type=cli.whole(0, cli.LARGEST_SEED),
        metavar="N",
        help="of the first text, the next has N + 1 (random if absent)",
    )
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.generation.load import load_with_tokenizer
    from minlm.generation.samples_file import Setting, generate_samples, random_seed
    from minlm.generation.stream_text import write_stream
    from minlm.training.device import resolve_device, set_threads

    if arguments.num_samples < 1:
        raise MinlmError(f"--num_samples must be at least 1, not {arguments.num_samples}.")
    set_threads()
    model, tokenizer, _ = load_with_tokenizer(
        arguments.checkpoint, arguments.vocab_path, arguments.merges_path, resolve_device(arguments.device)
    )
    setting = Setting(arguments.temperature, arguments.top_p, arguments.top_k)
    seed = random_seed() if arguments.seed is None else arguments.seed
    start = time.perf_counter()
    if sys.stdout.isatty():  # a person reads along
        count = 0
        for index in range(arguments.num_samples):
            if index > 0:
                print()
            count += write_stream(
                sys.stdout, model, tokenizer, arguments.prompt, setting, arguments.max_tokens, seed + index
            )
    else:  # all at once is faster
        prompts = [arguments.prompt] * arguments.num_samples
        samples = generate_samples(model, tokenizer, prompts, [setting], arguments.max_tokens, seed)
        print("\n\n".join(sample.text for sample in samples))
        count = sum(sample.new_tokens for sample in samples)
    log.info(f"{count} tokens in {time.perf_counter() - start:.2f} s; --seed {seed} writes the same again")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
