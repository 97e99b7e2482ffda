"""Write a trained model as a folder that other software loads: transformers (huggingface: weights in safetensors,
configuration, tokenizer and a model card) or llama.cpp and Ollama (gguf: model.gguf and a Modelfile)."""

import argparse
import json

from minlm.scripts import cli
from minlm.scripts.model_options import add_model_options, load_model


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "nlm-export", __doc__,
        "--checkpoint results/model.pt --vocab_path data/tokenizer/vocab.json \\\n"
        "    --merges_path data/tokenizer/merges.txt --evaluation results/evaluation.json --output results/export",
    )  # fmt: skip
    add_model_options(parser)
    parser.add_argument("--format", choices=("huggingface", "gguf"), default="huggingface", help="Format to write")
    parser.add_argument("--evaluation", metavar="FILE", help="evaluation.json, for the model card")
    cli.add_setting(
        parser, "corpus.source", "--corpus_source", default=None, description="Training text, for the model card"
    )
    cli.add_setting(parser, "ancients.share", "--ancients_share")
    parser.add_argument(
        "--recipe", type=json.loads, metavar="JSON", help="Configuration of the run, for the model card"
    )
    parser.add_argument(
        "--replicates", nargs="*", default=[], metavar="FILE",
        help="evaluation.json of models that differ only in the seed, for the model card",
    )  # fmt: skip
    parser.add_argument(
        "--gguf_type", choices=("F32", "F16", "Q8_0"), default="F16", help="Numbers of the matrices in model.gguf"
    )
    parser.add_argument(
        "--output", metavar="FOLDER", help="Folder to write (default: results/export, or results/gguf for gguf)"
    )
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.errors import require
    from minlm.export import gguf, huggingface
    from minlm.export.model_card import FIGURES, model_card
    from minlm.training.evaluation import read_evaluation

    if arguments.format == "gguf":
        require("gguf", "minlm[gguf]", "--format gguf")
    evaluation = None if arguments.evaluation is None else read_evaluation(arguments.evaluation, FIGURES)
    model, tokenizer, info = load_model(arguments)
    if arguments.format == "gguf":
        folder, what = arguments.output or "results/gguf", f"a Llama in {arguments.gguf_type} for llama.cpp"
        gguf.export(folder, model, tokenizer, f"minlm {model.num_parameters():,}", arguments.gguf_type)
    else:
        folder, what = arguments.output or "results/export", "LlamaForCausalLM"
        card = model_card(
            model, info, evaluation, arguments.corpus_source, arguments.ancients_share, arguments.recipe,
            [read_evaluation(path, FIGURES) for path in arguments.replicates],
        )  # fmt: skip
        huggingface.export(folder, model, tokenizer, card)
    return f"wrote {folder}: {what} with {model.num_parameters():,} parameters"


if __name__ == "__main__":
    main()
