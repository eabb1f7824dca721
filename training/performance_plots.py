"""The plots of scores that served, as PNG; what is unknown is a gap, and said where nothing is known."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from training.axes import BLUE, GREY, RED, new_axes, png

_COLOURS = (BLUE, RED, "#3a8f5c", "#8a5fb0", "#c08a1e", GREY)
_EPOCH = date(1970, 1, 1)

_Part = dict[str, Any]


def shares(models: Sequence[_Part], name: str, words: str) -> bytes:
    """Draw a figure from 0 to 1 of each week, a colour for each model; whiskers are the intervals."""
    figure, axes = _dated(models, words)
    for number, model in enumerate(models):
        _whiskers(axes, model["weeks"], name, _COLOURS[number % len(_COLOURS)], _label(model), number)
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return _finished(figure, axes)


def money(model: _Part) -> bytes:
    """Draw the amounts of frauds caught and missed, by week."""
    figure, axes = _dated([model], "amount of the frauds, a week")
    for number, (name, words, colour) in enumerate(
        (("money_caught", "with an alert", BLUE), ("money_missed", "without one", RED))
    ):
        _whiskers(axes, model["weeks"], name, colour, words, number)
    axes.set_ylim(bottom=0)
    return _finished(figure, axes)


def alerts(models: Sequence[_Part]) -> bytes:
    """Draw alerts of each day."""
    figure, axes = _dated(models, "alerts a day")
    for number, model in enumerate(models):
        _whiskers(axes, model["days"], "alerts", _COLOURS[number % len(_COLOURS)], _label(model), 0)
    axes.set_ylim(bottom=0)
    return _finished(figure, axes)


def labelled(model: _Part) -> bytes:
    """Draw which share of each day's alerts and control transactions is labelled."""
    figure, axes = _dated([model], "share that is labelled")
    for name, words, colour in (
        ("alerts_labelled_share", "alerts", BLUE),
        ("control_labelled_share", "control transactions", RED),
        ("labelled_share", "all transactions", GREY),
    ):
        known = [day for day in model["days"] if day[name] is not None]
        axes.plot(
            [_middle(day) for day in known], [day[name] for day in known], "o-", color=colour, label=words
        )
    axes.set_ylim(-0.03, 1.05)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return _finished(figure, axes)


def _whiskers(  # noqa: PLR0913, PLR0917 - what a line consists of
    axes: Axes, parts: Sequence[_Part], name: str, colour: str, label: str, number: int
) -> None:
    known = [part for part in parts if part[name]["value"] is not None]
    label = label if known else f"{label}: unknown"
    values = [part[name]["value"] for part in known]
    ends = [
        [0.0 if part[name][end] is None else abs(part[name]["value"] - part[name][end]) for part in known]
        for end in ("lower", "upper")
    ]
    # side by side: models of one week would hide one another
    places = [_middle(part) + 0.4 * number for part in known]
    axes.errorbar(places, values, yerr=ends, fmt="o-", capsize=3, linewidth=1, color=colour, label=label)


def _dated(models: Sequence[_Part], y: str) -> tuple[Figure, Axes]:
    """Begin a plot over the days of models, those included of which nothing is known."""
    figure, axes = new_axes("", y)
    days = [_middle(day) for model in models for day in model["days"]]
    axes.set_xlim(min(days) - 1, max(days) + 1)
    axes.xaxis.set_major_locator(AutoDateLocator(minticks=3, maxticks=8))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(DateFormatter("%d %b"))  # type: ignore[no-untyped-call]
    return figure, axes


def _finished(figure: Figure, axes: Axes) -> bytes:
    if any(np.size(line.get_xdata()) for line in axes.lines):
        axes.legend(loc="best", fontsize=8)
    else:
        axes.text(0.5, 0.5, "unknown", transform=axes.transAxes, ha="center", color=GREY, fontsize=16)
    return png(figure)


def _middle(part: _Part) -> float:
    """Give the middle of a part, in days since 1970 as matplotlib counts."""
    first, last = (date.fromisoformat(part[end]) for end in ("from", "to"))
    return ((first - _EPOCH).days + (last - _EPOCH).days) / 2


def _label(model: _Part) -> str:
    return f"{model['version']}, {model['role']}"
