"""Continue each prompt with each setting and write the texts to one file."""

import argparse
import time

from minlm.progress import log
from minlm.scripts import cli
from minlm.scripts.model_options import add_model_options, load_model


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.sample", __doc__,
        "--checkpoint results/model.pt --vocab_path data/tokenizer/vocab.json --merges_path data/tokenizer/merges.txt "
        '--prompts "The" "In those days" --settings 0.7:0.9 1.0:none',
    )  # fmt: skip
    add_model_options(parser)
    cli.add_setting(parser, "sampling.prompts")
    parser.add_argument(
        "--settings", nargs="+", required=True, metavar="T:P[:K]",
        help="temperature:top_p[:top_k], for example 0.7:0.9 or 1.0:none:40",
    )  # fmt: skip
    cli.add_settings(parser, "sampling", "max_new_tokens", "seed")
    cli.add_device(parser)
    cli.add_threads(parser)
    parser.add_argument("--output", default="results/samples.txt", metavar="FILE", help="File to write")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> None:
    from minlm.generation.samples_file import Setting, describe_cut, generate_samples, write_samples

    settings = [Setting.parse(text) for text in arguments.settings]
    model, tokenizer, info = load_model(arguments)
    for cut in (describe_cut(model, tokenizer, prompt) for prompt in arguments.prompts):
        if cut:
            log.info(cut)
    start = time.perf_counter()
    samples = generate_samples(model, tokenizer, arguments.prompts, settings, arguments.max_new_tokens, arguments.seed)
    write_samples(arguments.output, samples, title=f"Samples of the model after {info['iteration']:,} training steps")
    count = sum(sample.new_tokens for sample in samples)
    log.info(
        f"wrote {arguments.output}: {len(samples)} {'text' if len(samples) == 1 else 'texts'}, {count:,} tokens in "
        f"{time.perf_counter() - start:.1f} s"
    )


if __name__ == "__main__":
    main()
