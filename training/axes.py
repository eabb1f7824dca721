"""Axes of the reports' plots, and their pictures; the page around them needs no matplotlib."""

import io

from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, RED, GREY = "#1f6fb4", "#c8443a", "#8a8f98"
_SIZE_INCHES, _DOTS_PER_INCH = (6.4, 4.2), 130


def new_axes(x: str, y: str, *, tall: bool = False) -> tuple[Figure, Axes]:
    """Begin a plot with these labels."""
    width, height = _SIZE_INCHES
    figure = Figure(figsize=(width, height * 1.25 if tall else height), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    axes.grid(visible=True, alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png(figure: Figure) -> bytes:
    """Give a plot as a picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH)
    return buffer.getvalue()
