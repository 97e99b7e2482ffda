"""Continue a prompt with a trained model and print the text; on a terminal it appears as it is written. The model's
shape comes from its checkpoint."""

import argparse
import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from minlm.progress import log
from minlm.scripts import cli
from minlm.scripts.model_options import add_model_options, load_model

if TYPE_CHECKING:
    from minlm.generation.samples_file import Setting
    from minlm.tokenization import BPETokenizer
    from minlm.transformer import TransformerLM


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "nlm-generate", __doc__,
        "--checkpoint results/model.pt --vocab_path data/tokenizer/vocab.json --merges_path data/tokenizer/merges.txt "
        '--prompt "In those days" --temperature 0.8 --top_p 0.9',
    )  # fmt: skip
    add_model_options(parser)
    parser.add_argument("--prompt", default="", help="Text to continue; an empty prompt starts a new document")
    parser.add_argument(
        "--chat", action="store_true",
        help="Answer --prompt, or without one each line that you type, as a model trained on conversations",
    )  # fmt: skip
    cli.add_setting(parser, "sampling.max_new_tokens", "--max_tokens", default=100)
    parser.add_argument(
        "--temperature", type=float, default=1.0, metavar="T", help="0 takes the likeliest token, above 1 is wilder"
    )
    parser.add_argument(
        "--top_p", type=float, metavar="P", help="Draw from the most probable tokens that reach P (default: all)"
    )
    parser.add_argument("--top_k", type=int, metavar="K", help="Draw from the K most probable tokens (default: all)")
    parser.add_argument("--num_samples", type=cli.whole(1, 10**6), default=1, metavar="N", help="Number of texts")
    cli.add_device(parser)
    cli.add_setting(
        parser, "sampling.seed", default=None,
        description="Seed of the first text; the next text has the next seed (default: random)",
    )  # fmt: skip
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> None:
    from minlm.generation.samples_file import Setting, describe_cut, generate_samples, random_seed
    from minlm.generation.stream_text import stream_text, write_stream

    model, tokenizer, _ = load_model(arguments)
    prompt, max_tokens = arguments.prompt, arguments.max_tokens
    setting = Setting(arguments.temperature, arguments.top_p, arguments.top_k)
    seed = random_seed() if arguments.seed is None else arguments.seed
    if arguments.chat:
        chat(model, tokenizer, [prompt] if prompt else user_lines(), setting, max_tokens, seed)
        return
    if cut := describe_cut(model, tokenizer, prompt):
        log.info(cut)
    start = time.perf_counter()
    if sys.stdout.isatty():  # a person reads along
        count = 0
        for index in range(arguments.num_samples):
            if index > 0:
                print()
            texts = stream_text(model, tokenizer, prompt, setting, max_tokens, seed + index)
            count += write_stream(sys.stdout, prompt, texts)
    else:  # all at once is faster
        prompts = [prompt] * arguments.num_samples
        samples = generate_samples(model, tokenizer, prompts, [setting], max_tokens, seed)
        print("\n\n".join(sample.text for sample in samples))
        count = sum(sample.new_tokens for sample in samples)
    again = f"; --seed {seed} writes the same again" if setting.temperature > 0 else ""
    log.info(f"{count} tokens in {time.perf_counter() - start:.2f} s{again}")


def user_lines() -> Iterator[str]:
    """What the user types until Ctrl-D."""
    while True:
        try:
            if (line := input("> ")).strip():
                yield line
        except EOFError:
            return


def chat(
    model: "TransformerLM", tokenizer: "BPETokenizer", lines: Iterable[str], setting: "Setting", max_tokens: int,
    seed: int,
) -> None:  # fmt: skip
    """Answer each line, with the conversation so far in mind."""
    from minlm.generation.stream_text import stream_reply, write_stream

    messages: list[dict[str, str]] = []
    for number, line in enumerate(lines):
        messages.append({"role": "user", "content": line})
        streams = itertools.tee(stream_reply(model, tokenizer, messages, setting, max_tokens, seed + number))
        write_stream(sys.stdout, "", streams[0])
        messages.append({"role": "assistant", "content": "".join(text.text for text in streams[1])})


if __name__ == "__main__":
    main()
