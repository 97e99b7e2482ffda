"""Train a model on token files; an interrupted run goes on where it was."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minlm.scripts import cli

if TYPE_CHECKING:
    from minlm.tokenization import BPETokenizer

MODEL = (
    "vocab_size", "context_length", "d_model", "num_layers", "num_heads", "d_ff", "rope_theta", "embedding_std",
    "flash_attention", "disable_rmsnorm", "post_norm", "no_rope", "silu_ffn",
)  # fmt: skip
TRAINING = (
    "batch_size", "total_tokens", "lr_max", "lr_min", "warmup_iters", "weight_decay", "max_grad_norm", "beta1", "beta2",
    "eps", "seed", "dtype", "compile", "grad_accum_steps", "gradient_checkpointing", "reference",
    "eval_interval", "save_interval",
)  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """The command line of this program."""
    parser = cli.make_parser(
        "nlm-train",
        "Train a Transformer language model. A run that was interrupted, in whatever way, goes on from its last "
        "in-progress checkpoint when the same command is given again. On several GPUs: torchrun --standalone "
        "--nproc-per-node N -m minlm.scripts.train …; on several machines with torchrun's rendezvous or srun.",
        "nlm-train --train_tokens data/tokens/train.npy --val_tokens data/tokens/valid.npy --vocab_size 10000 \\\n"
        "    --context_length 256 --checkpoint_path results/model.pt --log_csv results/metrics.csv",
    )
    _data_flags(parser.add_argument_group("data"))
    _model_flags(parser.add_argument_group("model"))
    _training_flags(parser.add_argument_group("training"))
    _run_flags(parser.add_argument_group("running and output"))
    return parser


def _data_flags(group: Any) -> None:
    group.add_argument("--train_tokens", nargs="+", required=True, metavar="NPY", help="training tokens (or shards)")
    group.add_argument("--val_tokens", nargs="+", required=True, metavar="NPY", help="validation tokens (or shards)")
    group.add_argument("--vocab_path", metavar="JSON", help="the tokenizer's vocabulary; with --merges_path")
    group.add_argument("--merges_path", metavar="TXT", help="adds bits/byte to the metrics, ties model and tokenizer")


def _model_flags(group: Any) -> None:
    group.add_argument("--vocab_size", type=cli.whole(1, 10**7), default=10000, help="number of token ids")
    group.add_argument("--context_length", type=cli.whole(1, 2**16), default=1024, help="tokens the model sees at once")
    group.add_argument("--d_model", type=cli.whole(1, 2**16), default=512, help="width of the residual stream")
    group.add_argument("--num_layers", type=cli.whole(1, 1000), default=4, help="Transformer blocks")
    group.add_argument("--num_heads", type=cli.whole(1, 2**16), default=16, help="attention heads; divides d_model")
    group.add_argument("--d_ff", type=cli.whole(1, 2**20), default=1344, help="inner width of the feed-forward network")
    group.add_argument("--rope_theta", type=cli.real(1, 1e12), default=10000.0, help="base of RoPE's wavelengths")
    group.add_argument(
        "--embedding_std", type=cli.real(1e-6, 1000), default=1.0, help="standard deviation of the first embeddings"
    )
    group.add_argument("--flash_attention", action="store_true", help="a fused attention kernel")
    group.add_argument("--disable_rmsnorm", action="store_true", help="ablation: no normalization")
    group.add_argument("--post_norm", action="store_true", help="ablation: normalize behind each sublayer")
    group.add_argument("--no_rope", action="store_true", help="ablation: no positions")
    group.add_argument("--silu_ffn", action="store_true", help="ablation: feed-forward network without a gate")


def _training_flags(group: Any) -> None:
    group.add_argument("--batch_size", type=cli.whole(1, 10**6), default=32, help="sequences per step")
    group.add_argument(
        "--total_tokens", type=cli.whole(1, 10**15), default=163_840_000, help="tokens to train on, in whole steps"
    )
    group.add_argument("--lr_max", type=cli.real(1e-12, 100), default=3e-4, help="learning rate after the warm-up")
    group.add_argument("--lr_min", type=cli.real(0, 100), default=3e-5, help="learning rate at the end of the cosine")
    group.add_argument("--warmup_iters", type=cli.whole(0, 10**15), default=1000, help="steps of linear warm-up")
    group.add_argument("--weight_decay", type=cli.real(0, 1000), default=0.1, help="AdamW's decoupled weight decay")
    group.add_argument(
        "--max_grad_norm", type=cli.real(1e-6, 1e30), default=1.0, help="largest L2 norm of the gradients"
    )
    group.add_argument(
        "--beta1", type=cli.real(0, 1, below=True), default=0.9, help="AdamW's decay of the first moment"
    )
    group.add_argument(
        "--beta2", type=cli.real(0, 1, below=True), default=0.95, help="AdamW's decay of the second moment"
    )
    group.add_argument("--eps", type=cli.real(1e-30, 1), default=1e-8, help="AdamW's term against division by zero")
    group.add_argument(
        "--seed", type=cli.whole(0, cli.LARGEST_SEED), default=0, help="of the first weights and of the batches"
    )
    group.add_argument(
        "--dtype", choices=["auto", "float32", "bfloat16"], default="auto",
        help="of matrix products; auto is bfloat16 where the hardware has it",
    )  # fmt: skip
    group.add_argument(
        "--compile", choices=["auto", "on", "off"], default="auto",
        help="with torch.compile; auto does where the run is long enough to pay for it, unless it fails",
    )  # fmt: skip
    group.add_argument(
        "--grad_accum_steps", type=cli.whole(1, 10**6), default=1, help="parts of a batch computed one after the other"
    )
    group.add_argument("--gradient_checkpointing", action="store_true", help="less memory, about a third slower")
    group.add_argument("--reference", action="store_true", help="the plain forms of all computations; slower")
    group.add_argument("--eval_interval", type=cli.whole(1, 10**15), default=500, help="steps between two validations")
    group.add_argument(
        "--save_interval", type=cli.whole(1, 10**15), default=500, help="steps between two in-progress checkpoints"
    )


def _run_flags(group: Any) -> None:
    group.add_argument("--checkpoint_path", default="model.pt", metavar="FILE", help="the model to write")
    group.add_argument("--log_csv", metavar="FILE", help="write the metrics of each validation to this file")
    group.add_argument("--plot_dir", metavar="DIR", help="draw the training curves into this folder")
    group.add_argument("--state_dir", metavar="DIR", help="for the unfinished run alone (beside the model if absent)")
    group.add_argument(
        "--resume", nargs="?", const="", metavar="PATH",
        help="continue from this in-progress checkpoint (or its folder); alone: from this run's own, if there is one, "
        "which is what happens without the flag too",
    )  # fmt: skip
    group.add_argument("--device", help="cpu, cuda or mps (the best there is if absent)")
    group.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads, for all processes here (torch's choice if absent)"
    )
    group.add_argument("--log_to_wandb", action="store_true", help="send the metrics to Weights & Biases too")


def _work(arguments: argparse.Namespace) -> None:
    from minlm.atomic import check_writable
    from minlm.errors import MinlmError
    from minlm.fast.memory import keep_freed_memory
    from minlm.progress import log
    from minlm.training.device import set_threads
    from minlm.training.processes import joined_processes
    from minlm.training.run import train
    from minlm.training.settings import TrainingSettings
    from minlm.training.signals import Interrupted

    if bool(arguments.vocab_path) != bool(arguments.merges_path):
        raise MinlmError("--vocab_path and --merges_path belong together; give both or none.")
    settings = TrainingSettings(**{name: getattr(arguments, name) for name in TRAINING})
    set_threads(arguments.threads)
    if not settings.reference:
        keep_freed_memory()
    if arguments.plot_dir:
        check_writable(f"{arguments.plot_dir}/loss_vs_iter.png")
    try:
        with joined_processes(arguments.device) as (processes, device):
            rows = train(
                {name: getattr(arguments, name) for name in MODEL},
                settings,
                arguments.train_tokens,
                arguments.val_tokens,
                arguments.checkpoint_path,
                tokenizer=_tokenizer(arguments),
                device=device,
                log_csv=arguments.log_csv,
                state_dir=arguments.state_dir,
                resume=arguments.resume or None,
                log_to_wandb=arguments.log_to_wandb,
                processes=processes,
            )
            if arguments.plot_dir and processes.is_first:
                from minlm.reports.plots import draw_plots  # matplotlib takes a second to import

                draw_plots(rows, arguments.plot_dir)
    except Interrupted as interruption:
        log.info("nlm-train: stopped, the state is saved; the same command goes on from here.")
        sys.exit(128 + interruption.signal_number)


def _tokenizer(arguments: argparse.Namespace) -> "BPETokenizer | None":
    from minlm.documents import SEPARATOR
    from minlm.tokenization import BPETokenizer

    if not arguments.vocab_path:
        return None
    return BPETokenizer.from_files(arguments.vocab_path, arguments.merges_path, special_tokens=[SEPARATOR])


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
