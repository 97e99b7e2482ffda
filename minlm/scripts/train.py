"""Train a Transformer language model. A run that was interrupted in any way continues from its last in-progress
checkpoint when the same command is given again. On several GPUs: torchrun --standalone --nproc-per-node N -m
minlm.scripts.train …; on several machines with torchrun's rendezvous or srun."""

import argparse
import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Any

from minlm.pipeline import settings
from minlm.scripts import cli
from minlm.training.settings import TrainingSettings

if TYPE_CHECKING:
    from minlm.tokenization import BPETokenizer

MODEL = ("vocab_size", *settings.section("model"))
TRAINING = tuple(field.name for field in dataclasses.fields(TrainingSettings))


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "nlm-train", __doc__,
        "--train_tokens data/tokens/train.npy --val_tokens data/tokens/valid.npy --vocab_size 10000 \\\n"
        "    --context_length 256 --checkpoint_path results/model.pt --log_csv results/metrics.csv",
    )  # fmt: skip
    data = parser.add_argument_group("data")
    data.add_argument("--train_tokens", nargs="+", required=True, metavar="NPY", help="Training tokens (or shards)")
    data.add_argument("--val_tokens", nargs="+", required=True, metavar="NPY", help="Validation tokens (or shards)")
    data.add_argument(
        "--masks", nargs="*", default=[], metavar="NPY",
        help="Conversations: the masks of the training and the validation tokens; needs --vocab_path",
    )  # fmt: skip
    data.add_argument("--vocab_path", metavar="JSON", help="Vocabulary of the tokenizer; needs --merges_path")
    data.add_argument(
        "--merges_path", metavar="TXT", help="Merges of the tokenizer: adds bits/byte, ties the model to the tokenizer"
    )
    data.add_argument(
        "--bigram_path", metavar="FILE", help="Start from the embeddings and the head of this fit (of fit_bigram)"
    )
    cli.add_setting(
        data, "training.init_from", metavar="MODEL",
        description="Start from the weights of this finished model, with a new optimizer; flags of the model that are "
        "left out are then those of that model",
    )  # fmt: skip
    model = parser.add_argument_group("model")
    cli.add_setting(model, "tokenizer.vocab_size", minimum=1)
    cli.add_settings(model, "model")
    cli.add_settings(parser.add_argument_group("training"), "training", *TRAINING)
    _add_run_flags(parser.add_argument_group("running and output"))
    return parser


def _add_run_flags(group: Any) -> None:
    group.add_argument("--checkpoint_path", default="model.pt", metavar="FILE", help="Model to write")
    group.add_argument(
        "--log_csv", metavar="FILE", help="Write the metrics to this file, a row every 10 steps and for each validation"
    )
    group.add_argument("--plot_dir", metavar="DIR", help="Draw the training curves into this folder")
    group.add_argument(
        "--state_dir", metavar="DIR", help="Folder for the unfinished run only (default: beside the model)"
    )
    group.add_argument(
        "--resume", nargs="?", const="", metavar="PATH",
        help="Continue from this in-progress checkpoint (or its folder); without PATH, from this run's own if there is "
        "one, as happens without the flag",
    )  # fmt: skip
    cli.add_device(group)
    cli.add_threads(group)
    cli.add_settings(group, "training", "log_to", "log_to_wandb")
    group.add_argument("--wandb_project", metavar="NAME", help="Project at Weights & Biases (default: minlm)")
    group.add_argument("--wandb_run_name", metavar="NAME", help="Name of the run there (default: one that it chooses)")


@cli.program(build_parser, talks=True)
def main(arguments: argparse.Namespace) -> None:
    from minlm.atomic import check_writable
    from minlm.errors import MinlmError
    from minlm.fast.memory import keep_freed_memory
    from minlm.progress import log
    from minlm.training.device import set_threads
    from minlm.training.processes import joined_processes
    from minlm.training.run import train
    from minlm.training.signals import Interrupted
    from minlm.training.starting import FinishedModel

    if bool(arguments.vocab_path) != bool(arguments.merges_path):
        raise MinlmError("--vocab_path and --merges_path belong together; give both or none.")
    if len(arguments.masks) not in (0, 2) or (arguments.masks and not arguments.vocab_path):
        raise MinlmError(
            "--masks are two, of --train_tokens and --val_tokens, and need --vocab_path and --merges_path."
        )
    for variable, value in (("WANDB_PROJECT", arguments.wandb_project), ("WANDB_NAME", arguments.wandb_run_name)):
        if value is not None:  # wandb itself reads them
            os.environ[variable] = value
    training = TrainingSettings(**{name: getattr(arguments, name) for name in TRAINING})
    model_config = {name: getattr(arguments, name) for name in MODEL}
    init_from = FinishedModel(arguments.init_from) if arguments.init_from else None
    if init_from is not None:
        model_config |= {name: value for name, value in init_from.config.items() if name not in arguments.given}
    set_threads(arguments.threads)
    if not training.reference:
        keep_freed_memory()
    if arguments.plot_dir:
        check_writable(f"{arguments.plot_dir}/loss_vs_iter.png")
    try:
        with joined_processes(arguments.device) as (processes, device):
            rows = train(
                model_config,
                training,
                arguments.train_tokens,
                arguments.val_tokens,
                arguments.checkpoint_path,
                tokenizer=_tokenizer(arguments),
                device=device,
                log_csv=arguments.log_csv,
                state_dir=arguments.state_dir,
                resume=arguments.resume or None,
                log_to=arguments.log_to,
                log_to_wandb=arguments.log_to_wandb,
                processes=processes,
                bigram_path=arguments.bigram_path,
                init_from=init_from,
                masks=arguments.masks,
            )
            if arguments.plot_dir and processes.is_first:
                from minlm.reports.plots import draw_plots  # matplotlib takes a second to import

                draw_plots(rows, arguments.plot_dir)
    except Interrupted as interruption:
        log.info("nlm-train: stopped, the state is saved; the same command continues from here.")
        sys.exit(128 + interruption.signal_number)


def _tokenizer(arguments: argparse.Namespace) -> "BPETokenizer | None":
    from minlm.documents import SEPARATOR
    from minlm.tokenization import BPETokenizer

    if not arguments.vocab_path:
        return None
    return BPETokenizer.from_files(arguments.vocab_path, arguments.merges_path, special_tokens=[SEPARATOR])


if __name__ == "__main__":
    main()
