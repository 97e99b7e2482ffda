"""What all figures share: drawn without a display, in one style, and saved with reproducible bytes."""

import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws to files and needs no display

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minlm.atomic import atomic_write


def style_axes(axes: Axes) -> None:
    """Give a diagram a light grid and no frame at the top and the right."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG file and close it. The same data give the same bytes."""
    with atomic_write(path, "wb") as file:
        file.write(png(figure))


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file; closes the figure."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=130, metadata={"Software": None})  # which would hold a version
    plt.close(figure)
    return data.getvalue()
