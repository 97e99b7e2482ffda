"""Write a trained model as a folder that transformers loads."""

import argparse
from collections.abc import Sequence

from minlm.progress import log
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "nlm-export",
        "Write a trained model as a folder that transformers loads as LlamaForCausalLM: weights (safetensors), "
        "configuration, tokenizer and a model card.",
        "nlm-export --checkpoint results/model.pt --vocab_path data/tokenizer/vocab.json "
        "--merges_path data/tokenizer/merges.txt --evaluation results/evaluation.json --output results/export",
    )
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="the model (model.pt)")
    parser.add_argument("--vocab_path", required=True, metavar="FILE", help="the vocabulary it was trained with")
    parser.add_argument("--merges_path", required=True, metavar="FILE", help="the merges it was trained with")
    parser.add_argument("--evaluation", metavar="FILE", help="evaluation.json, for the model card")
    parser.add_argument(
        "--corpus_source", choices=["sample", "tinystories", "files"], help="what it was trained on, for the model card"
    )
    parser.add_argument(
        "--ancients_share",
        type=cli.real(0, 1),
        default=0.0,
        metavar="F",
        help="fraction of words from ancient books, likewise",
    )
    parser.add_argument("--output", default="results/export", metavar="FOLDER", help="folder to write")
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.export.huggingface import export
    from minlm.export.model_card import FIGURES
    from minlm.generation.load import load_with_tokenizer
    from minlm.training.evaluation import read_evaluation

    evaluation = None if arguments.evaluation is None else read_evaluation(arguments.evaluation, FIGURES)
    model, tokenizer, info = load_with_tokenizer(arguments.checkpoint, arguments.vocab_path, arguments.merges_path)
    export(
        arguments.output,
        model,
        tokenizer,
        info,
        evaluation=evaluation,
        corpus_source=arguments.corpus_source,
        ancients_share=arguments.ancients_share,
    )
    log.info(f"wrote {arguments.output}: LlamaForCausalLM with {model.num_parameters():,} parameters")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
