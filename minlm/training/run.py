"""A training run, from token files to a model: check, resume or start, train, write the results."""

import functools
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from minlm import process
from minlm.atomic import check_writable, sha256
from minlm.bulk.token_file import token_record
from minlm.documents import SEPARATOR
from minlm.errors import DamagedFileError, MinlmError
from minlm.finished import FinishedRun
from minlm.pipeline.rules import kept_models
from minlm.progress import duration, log, summarize
from minlm.tokenization import BPETokenizer
from minlm.training.bigram_file import load_bigram
from minlm.training.conversations import open_conversations
from minlm.training.evaluation import text_bytes
from minlm.training.forecast import announce
from minlm.training.loggers import logger, require_loggers
from minlm.training.metrics import Row, write_metrics
from minlm.training.processes import Processes
from minlm.training.settings import TrainingSettings
from minlm.training.starting import FinishedModel
from minlm.training.state import RunState, run_fingerprint
from minlm.training.tokens import open_tokens
from minlm.training.trainer import Trainer
from minlm.transformer.checkpoint import save_model
from minlm.transformer.classic import decay_start
from minlm.transformer.init import start_from_bigram


def train(
    model_config: dict[str, Any],
    settings: TrainingSettings,
    train_tokens: Sequence[str | Path],
    val_tokens: Sequence[str | Path],
    checkpoint_path: str | Path,
    *,
    tokenizer: BPETokenizer | None = None,
    device: torch.device | str = "cpu",
    log_csv: str | Path | None = None,
    state_dir: str | Path | None = None,
    resume: str | Path | None = None,
    log_to: Sequence[str] = (),
    log_to_wandb: bool = False,
    processes: Processes | None = None,
    bigram_path: str | Path | None = None,
    init_from: FinishedModel | None = None,
    masks: Sequence[str | Path] = (),
) -> list[Row]:
    """Train a model, or finish what an interrupted call with the same arguments began.

    Args:
        model_config: constructor arguments of `TransformerLM`.
        settings: see `TrainingSettings`.
        train_tokens, val_tokens: `.npy` files of token ids; several are read as one.
        checkpoint_path: where the finished model goes, see `checkpoint.save_model`.
        tokenizer: made the tokens; its fingerprint goes into the model, and the metrics get bits per byte.
        device: to train on.
        log_csv: where the finished metrics go.
        state_dir: folder for the state of the unfinished run; `.NAME.in_progress` beside the model by default.
        resume: continue from this in-progress checkpoint, or the one in this folder, instead of that in `state_dir`.
        log_to: names of `LOGGERS` that follow the run; "csv" changes nothing.
        log_to_wandb: the earlier name of `log_to=["wandb"]`.
        processes: the processes that train together; only the first one reads and writes files.
        bigram_path: embeddings and head to start from, written by `fit_bigram`; random ones if None.
        init_from: a model to start from; `model_config` has its architecture.
        masks: for conversations, of the training and the validation tokens, each one file; needs the tokenizer.

    Returns:
        The rows of the metrics.

    Raises:
        MinlmError: inputs do not fit, outputs cannot be written, or the loss became NaN or infinite.
        Interrupted: SIGTERM or Ctrl-C arrived; the state is saved.
    """
    path, device = Path(checkpoint_path), torch.device(device)
    processes = processes or Processes()
    steps, context_length = settings.steps(model_config["context_length"]), model_config["context_length"]
    loggers = sorted({*log_to, *(["wandb"] if log_to_wandb else [])} - {"csv"})
    require_loggers(loggers)
    state_folder = Path(state_dir) if state_dir else path.with_name(f".{path.name}.in_progress")

    def check() -> None:
        _check_outputs([path, log_csv], state_folder)
        for tokens in (*train_tokens, *val_tokens):
            token_record(tokens)  # reads a file without a record once, not in each process

    processes.from_first(check)
    train_set = open_tokens(train_tokens, model_config["vocab_size"], context_length)
    valid_set = open_tokens(val_tokens, model_config["vocab_size"], context_length=1)
    if masks:
        assert tokenizer is not None
        end = tokenizer.encode(SEPARATOR)[0]
        train_set, valid_set = (
            open_conversations(tokens, mask, context_length, end)
            for tokens, mask in zip((train_set, valid_set), masks, strict=True)
        )
    valid_bytes = None
    if tokenizer is not None:
        _check_tokenizer(tokenizer, model_config["vocab_size"])
        valid_bytes = text_bytes(valid_set, tokenizer, context_length, settings.eval_tokens)
    stated = {**model_config, **settings.stated(), "tokenizer": tokenizer.fingerprint if tokenizer else None}
    start: Callable[[Any], None] | None = None
    inputs = [*train_tokens, *val_tokens, *masks]
    if init_from is not None:
        init_from.check(model_config, tokenizer)
        start = init_from.start
        inputs.append(init_from.path)
        stated["init_from"] = sha256(init_from.path)
    elif bigram_path is not None:
        embeddings, head = load_bigram(bigram_path)
        start = functools.partial(start_from_bigram, embeddings=embeddings, head=head)
        inputs.append(bigram_path)
        stated["bigram_init"] = sha256(bigram_path)  # of the fit
    if masks:
        stated["masks"] = sha256(*masks)
    fingerprint = run_fingerprint(train_tokens, val_tokens, stated)
    constant = None
    if settings.schedule == "wsd":
        anyhow_long = run_fingerprint(train_tokens, val_tokens, {**stated, "total_tokens": None})
        constant = (anyhow_long, decay_start(settings.warmup_iters, steps))

    with ExitStack() as stack:
        in_workflow = process.in_workflow()
        state = RunState(state_folder, fingerprint, in_workflow, constant) if processes.is_first else None
        kept_paths = {name: path.parent / kept for name, kept in kept_models(vars(settings)).items()}
        finished = FinishedRun(path, fingerprint, kept_paths.values())

        def begin() -> dict[str, Any] | None:
            assert state is not None
            stack.enter_context(state)
            if in_workflow and (rows := finished.restore(inputs)):
                return {"finished": rows}
            return state.read(resume) if resume else state.load()

        saved = processes.from_first(begin)
        if saved is not None and "finished" in saved:
            rows = saved["finished"]
            log.info(f"this training had already finished: {path} is restored from {finished.folder}/")
            if state is not None:
                if log_csv is not None:
                    write_metrics(log_csv, rows)
                state.finish()
            return rows
        make_trainer = functools.partial(
            Trainer, model_config, settings, train_set, valid_set, state, device, valid_bytes, processes, start
        )
        trainer = make_trainer()
        if saved is not None:
            try:
                trainer.restore(saved)
            except DamagedFileError as error:
                if resume:
                    raise
                if state is not None:
                    state.set_aside(error.reason)
                trainer = make_trainer()
        if processes.is_first:
            for name in loggers:
                trainer.log_rows_to(stack.enter_context(logger(name, path, stated)))

        def save_to(place: Path) -> None:
            computed = trainer.computation.record()
            training = {
                **settings.stated(),
                "bigram_init": "bigram_init" in stated,
                "dtype": computed["dtype"],
                "compile": computed["compile"],
            }  # "auto" resolved
            if init_from is not None:
                training["init_from"] = str(init_from.path)
            save_model(place, trainer.model, trainer.step, stated["tokenizer"], training)

        if state is not None:
            trainer.keep = lambda name: save_to(state.kept(name))
        announce(trainer, model_config["vocab_size"])
        rows = trainer.run()
        if state is None:
            return rows
        save_to(path)
        for name, kept in kept_paths.items():
            kept.parent.mkdir(exist_ok=True)
            os.replace(state.kept(name), kept)
        if log_csv is not None:
            write_metrics(log_csv, rows)
        if in_workflow:
            finished.keep(rows)
        state.finish()
    last = rows[-1]
    bits = f", {last['val_bits_per_byte']:.3f} bits/byte" if valid_bytes else ""
    summarize(
        f"wrote {path}: {steps:,} steps, validation loss {last['val_loss']:.3f} nats/token{bits}, "
        f"{duration(trainer.elapsed())}"
    )
    return rows


def _check_outputs(outputs: Sequence[str | Path | None], state_folder: Path) -> None:
    for output in outputs:
        if output is not None:
            if Path(output).resolve().is_relative_to(state_folder.resolve()):
                raise MinlmError(
                    f"{output} is in {state_folder}/, which is removed when the run is done. Give another --state_dir."
                )
            check_writable(output)


def _check_tokenizer(tokenizer: BPETokenizer, vocab_size: int) -> None:
    largest = max(tokenizer.vocab)
    if largest >= vocab_size:
        raise MinlmError(
            f"the tokenizer has token ids up to {largest}, which do not fit --vocab_size {vocab_size}. "
            f"Give --vocab_size {largest + 1} or more, or the tokenizer of these tokens."
        )
