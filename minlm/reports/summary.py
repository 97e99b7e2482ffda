"""The first page of a run's report: loss curve, bits per byte beside the compressors, samples, settings."""

import base64
from collections.abc import Sequence
from pathlib import Path

from minlm.generation.samples_file import Sample, read_samples
from minlm.progress import duration
from minlm.reports.pages import write_page
from minlm.reports.plots import read_metrics
from minlm.training.evaluation import read_evaluation
from minlm.transformer.checkpoint import load_model

NUM_SAMPLES = 3


def write_summary_page(
    path: str | Path,
    model_pt: str | Path,
    metrics_csv: str | Path,
    evaluation_json: str | Path,
    samples_txt: str | Path,
    loss_png: str | Path,
    text_settings: Sequence[str] = (),
    unused_settings: Sequence[str] = (),
) -> None:
    """Write the page. It works by itself and as a part of another page: its style applies to nothing else.

    Args:
        path: file to write.
        model_pt: the model; the page shows the settings that are stored in it.
        metrics_csv, evaluation_json, samples_txt: of the model.
        loss_png: its loss curve.
        text_settings: the settings of text and tokenizer, each as "corpus.source=sample".
        unused_settings: names of settings that had no effect.

    Raises:
        MinlmError: a file is missing or damaged.
    """
    model, info = load_model(model_pt)
    last = read_metrics(metrics_csv).iloc[-1]
    write_page(
        path,
        "summary.html",
        title="What this run has made",
        parameters=model.num_parameters(),
        steps=info["iteration"],
        tokens=int(last["tokens_seen"]),
        time=duration(float(last["elapsed_s"])),
        compressors=rank_compressors(evaluation_json),
        picture=base64.b64encode(Path(loss_png).read_bytes()).decode(),
        samples=first_samples(read_samples(samples_txt)),
        settings={
            "Text and tokenizer": dict(setting.split("=", 1) for setting in text_settings),
            "Model": model.config,
            "Training": {name: "null" if value is None else value for name, value in info["training"].items()},
        },
        unused=unused_settings,
    )


def rank_compressors(evaluation_json: str | Path) -> dict[str, float]:
    """The bits per byte of the model and the compressors on the same text, the best first.

    Raises:
        MinlmError: the evaluation is missing or damaged.
    """
    evaluation = read_evaluation(evaluation_json)
    bits = {"this model": evaluation["bits_per_byte"]}
    bits |= {name.removesuffix("_bits_per_byte"): value for name, value in evaluation["baseline"].items()}
    return dict(sorted(bits.items(), key=lambda item: item[1]))


def first_samples(samples: Sequence[Sample]) -> list[Sample]:
    """The first sample of each prompt, at most `NUM_SAMPLES`."""
    first: dict[str, Sample] = {}
    for sample in samples:
        first.setdefault(sample.prompt, sample)
    return list(first.values())[:NUM_SAMPLES]
