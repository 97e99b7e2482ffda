"""Write a trained model as a folder that transformers loads as LlamaForCausalLM: weights (safetensors), configuration,
tokenizer and a model card."""

import argparse

from minlm.scripts import cli
from minlm.scripts.model_options import add_model_options, load_model


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "nlm-export", __doc__,
        "--checkpoint results/model.pt --vocab_path data/tokenizer/vocab.json \\\n"
        "    --merges_path data/tokenizer/merges.txt --evaluation results/evaluation.json --output results/export",
    )  # fmt: skip
    add_model_options(parser)
    parser.add_argument("--evaluation", metavar="FILE", help="evaluation.json, for the model card")
    cli.add_setting(
        parser, "corpus.source", "--corpus_source", default=None, description="Training text, for the model card"
    )
    cli.add_setting(parser, "ancients.share", "--ancients_share")
    parser.add_argument("--output", default="results/export", metavar="FOLDER", help="Folder to write")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.export.huggingface import export
    from minlm.export.model_card import FIGURES, model_card
    from minlm.training.evaluation import read_evaluation

    evaluation = None if arguments.evaluation is None else read_evaluation(arguments.evaluation, FIGURES)
    model, tokenizer, info = load_model(arguments)
    card = model_card(model, info, evaluation, arguments.corpus_source, arguments.ancients_share)
    export(arguments.output, model, tokenizer, card)
    return f"wrote {arguments.output}: LlamaForCausalLM with {model.num_parameters():,} parameters"


if __name__ == "__main__":
    main()
