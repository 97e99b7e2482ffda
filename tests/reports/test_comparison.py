"""What a comparison says about groups of runs."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from minlm.reports.comparison import Run, draw, grouped, lead, verdict


def make_run(name: str, bits: float, valid_bytes: int = 100) -> Run:
    row = {"bits_per_byte": bits, "parameters": 10}
    metrics = pd.DataFrame({
        "iter": [1, 2], "tokens_seen": [5, 10], "elapsed_s": [1.0, 2.0], "val_bits_per_byte": [bits + 1, bits],
    })  # fmt: skip
    return Run(name, name.split("-")[0], row, metrics, [], valid_bytes, {})


def groups_of(**figures: list[float]):
    return grouped(
        [make_run(f"{name}-{i}", bits) for name, all_bits in figures.items() for i, bits in enumerate(all_bits)]
    )


def test_the_standard_error_is_that_of_students_t_test():
    gap, error = lead(groups_of(a=[1.0, 1.2, 1.1], b=[1.3, 1.35, 1.5]))
    assert gap == pytest.approx(0.85 / 3)
    variance = (2 * 0.01 + (0.25**2 + 0.1**2 + 0.35**2) / 9) / 4  # the deviations of b are thirds of these
    assert error == pytest.approx((variance * 2 / 3) ** 0.5)


@pytest.mark.parametrize(
    ("figures", "words", "is_best"),
    [
        ({"a": [1.00, 1.01], "b": [1.20, 1.21]}, "more than twice the standard error", True),
        ({"a": [1.00, 1.10], "b": [1.03, 1.12]}, "not clear of the standard error", False),
        ({"a": [1.00], "b": [1.20]}, "whether that is more than noise", False),
        ({"a": [1.00, 1.01], "b": [1.20]}, "more than twice the standard error", True),
        ({"a": [1.00]}, "a has the fewest bits/byte, 1.0000", True),
    ],
)
def test_a_best_is_named_outside_of_the_noise_only(figures, words, is_best):
    sentence, best = verdict(groups_of(**figures))
    assert words in sentence
    assert (best is not None and best.name == "a") == is_best


def test_runs_with_other_texts_are_no_rivals():
    runs = [make_run("a-0", 1.0, 100), make_run("b-0", 0.5, 200), make_run("c-0", 0.7, 200), make_run("c-1", 0.71, 200)]
    sentence, best = verdict(grouped(runs))
    assert sentence.startswith("Of 2 runs with the same text, b has the fewest bits/byte, 0.5000, 0.2050 fewer than c")
    assert best is not None
    assert best.name == "b"


def test_a_group_is_a_line_in_a_band():
    figure = draw([make_run("a-0", 1.0), make_run("a-1", 2.0), make_run("b-0", 3.0)])
    axes = figure.axes[1]
    (band,) = axes.collections
    extent = band.get_paths()[0].get_extents()
    assert (extent.ymin, extent.ymax) == (1.0, 3.0)
    assert sorted(axes.lines[0].get_ydata()) == [1.5, 2.5]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    plt.close(figure)
