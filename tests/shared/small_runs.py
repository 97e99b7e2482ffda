"""A training that takes a second, for the tests of training runs."""

import csv
import signal
from types import SimpleNamespace

from minlm.atomic import sha256
from minlm.training.run import train
from minlm.training.settings import TrainingSettings
from minlm.training.signals import Interrupted
from minlm.training.trainer import Trainer

MODEL = {"vocab_size": 16, "context_length": 8, "d_model": 16, "num_layers": 1, "num_heads": 2, "d_ff": 24}
TIMING = ("timestamp", "elapsed_s", "tokens_per_s")  # columns of metrics.csv that differ between identical runs

TOKENIZER = SimpleNamespace(
    vocab={i: b"x" * (1 + i % 3) for i in range(13)} | {13: b"<|endoftext|>"},
    special_tokens=["<|endoftext|>"], fingerprint="a fingerprint",
)  # fmt: skip


def make_settings(**changes) -> TrainingSettings:
    values = {
        "batch_size": 4, "total_tokens": 40 * 32 + 5, "lr_max": 1e-2, "lr_min": 1e-3, "warmup_iters": 4,
        "weight_decay": 0.1, "max_grad_norm": 1.0, "dtype": "float32", "eval_interval": 15, "save_interval": 10,
    }  # fmt: skip
    return TrainingSettings(**(values | changes))


def run(folder, name="model.pt", model=MODEL, settings=None, **more):
    more = {"log_csv": folder / f"{name}.csv"} | more
    return train(
        model, settings or make_settings(), [folder / "train.npy"], [folder / "valid.npy"], folder / name, **more
    )


def result(folder, name):
    with open(folder / f"{name}.csv", newline="") as handle:
        rows = [{k: v for k, v in row.items() if k not in TIMING} for row in csv.DictReader(handle)]
    return sha256(folder / name), rows


def stop_after(monkeypatch, step: int, stop: Exception | None = None):
    """Interrupt the training right after a step, as a signal does."""
    original = Trainer.train_step

    def train_step(self):
        original(self)
        if self.step == step:
            monkeypatch.setattr(Trainer, "train_step", original)
            raise stop or Interrupted(signal.SIGTERM)

    monkeypatch.setattr(Trainer, "train_step", train_step)
