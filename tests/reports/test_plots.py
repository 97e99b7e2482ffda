"""Pictures of a run, and the metrics they are made from."""

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from minlm.errors import MinlmError
from minlm.reports.plots import draw_plots, plt, read_metrics, speeds
from minlm.training.metrics import COLUMNS, write_metrics

NAMES = ["loss_vs_iter.png", "loss_vs_time.png", "speed_vs_iter.png"]


def make_rows(count: int, seconds_per_row: float = 5.0) -> list[dict]:
    return [
        {
            "timestamp": "2026-01-01T00:00:00Z", "iter": 100 * i, "lr": 1e-3, "train_loss": 4 / i + 1,
            "val_loss": 4 / i + 1.1, "elapsed_s": seconds_per_row * i, "tokens_seen": 6400 * i,
            "tokens_per_s": 12345.0, "grad_norm": 0.5, "val_bits_per_byte": None,
        }
        for i in range(1, count + 1)
    ]  # fmt: skip


def test_metrics_come_back(tmp_path):
    write_metrics(tmp_path / "metrics.csv", make_rows(3))
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    table = read_metrics(tmp_path / "metrics.csv")
    assert table.pop("val_bits_per_byte").isna().all()
    pd.testing.assert_frame_equal(table, pd.DataFrame(make_rows(3))[table.columns])


def test_speeds_are_the_tokens_and_seconds_between_validations():
    rows = [
        {"iter": 1, "tokens_seen": 10, "tokens_per_s": 1, "val_loss": None},  # 10 s
        {"iter": 10, "tokens_seen": 100, "tokens_per_s": 9, "val_loss": 3.0},  # 10 s
        {"iter": 20, "tokens_seen": 200, "tokens_per_s": 20, "val_loss": None},  # 5 s
        {"iter": 30, "tokens_seen": 300, "tokens_per_s": 10, "val_loss": 2.5},  # 10 s
    ]
    found = speeds(pd.DataFrame(rows))
    assert found["iter"].tolist() == [10, 30]
    assert found["tokens_per_s"].tolist() == pytest.approx([100 / 20, 200 / 15])


@pytest.mark.parametrize("count", [1, 30, 200])
def test_three_pictures_the_same_bytes_each_time(tmp_path, count):
    paths = draw_plots(make_rows(count), tmp_path / "a")
    assert [path.name for path in paths] == NAMES
    for path, again in zip(paths, draw_plots(pd.DataFrame(make_rows(count)), tmp_path / "b"), strict=True):
        assert path.read_bytes() == again.read_bytes()
        picture = matplotlib.image.imread(path)
        assert picture.shape[0] > 400
        assert picture.shape[1] > 700
        assert len(np.unique(picture[..., 0])) > 10  # something is drawn
    assert not plt.get_fignums()


@pytest.mark.parametrize(("seconds", "unit"), [(5, "seconds"), (60, "minutes"), (3600, "hours")])
def test_what_is_drawn(tmp_path, monkeypatch, seconds, unit):
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    rows = make_rows(30, seconds)
    draw_plots(rows, tmp_path)
    monkeypatch.undo()
    by_step, by_time, speed = (figure.axes[0] for figure in figures)
    assert by_step.get_xlabel() == "step"
    assert by_time.get_xlabel() == f"time ({unit})"
    assert by_time.lines[0].get_xdata()[-1] == pytest.approx(30 * seconds / {"s": 1, "m": 60, "h": 3600}[unit[0]])
    for axes in (by_step, by_time):
        assert axes.get_ylabel() == "loss (nats per token)"
        np.testing.assert_allclose(axes.lines[0].get_ydata(), [row["train_loss"] for row in rows])
        np.testing.assert_allclose(axes.lines[1].get_ydata(), [row["val_loss"] for row in rows])
        assert axes.lines[0].get_linestyle() != axes.lines[1].get_linestyle()
        assert [text.get_text().split()[0] for text in axes.get_legend().get_texts()] == ["training", "validation"]
    assert speed.get_ylabel() == "tokens per second"
    assert speed.get_ylim()[0] == 0
    plt.close("all")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a table of metrics"),
        (b"a,b\n1,2\n", "lacks the column"),
        (b"\xff\xfe\x00", "is not a table of metrics"),
        (",".join(COLUMNS).encode() + b"\n", "has no rows"),
        (",".join(COLUMNS).encode() + b"\nnow,1,1,many,1,1,1,1,1,1\n", "train_loss holds something"),
    ],
)
def test_files_that_are_no_metrics(tmp_path, content, message):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(MinlmError, match=message):
        read_metrics(path)
    with pytest.raises(MinlmError, match="there is no such file"):
        read_metrics(tmp_path / "nothing.csv")
