"""The plots of an evaluation, as PNG."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from training.axes import BLUE, GREY, RED, new_axes, png
from training.evaluation import Evaluation
from training.procedure import Scored

MOST_ALERTS = 300
_BUDGETS = np.arange(MOST_ALERTS + 1)


def precision_recall(evaluation: Evaluation) -> bytes:
    """Precision against recall, a line for each split."""
    figure, axes = new_axes(
        "share of frauds that raise an alert (recall)", "share of alerts that are frauds (precision)"
    )
    for number, tested in enumerate(each.unblocked() for each in evaluation.tested):
        precision, recall, _ = precision_recall_curve(tested.labels, tested.scores)
        axes.step(
            recall,
            precision,
            where="post",
            color=BLUE,
            alpha=0.35 + 0.65 * (number + 1) / len(evaluation.tested),
            linewidth=1.2,
            label=f"test from {tested.facts['test_from']}",
        )
    axes.set(xlim=(0, 1), ylim=(0, 1.03))
    axes.legend(loc="lower left")
    return png(figure)


def frauds_caught(evaluation: Evaluation) -> bytes:
    """Share of frauds caught against alerts a day."""
    figure, axes = new_axes("alerts a day, highest scores first", "share of frauds caught")
    _band(axes, evaluation, lambda each: each.labels.astype(np.float64), share=True)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylim(0, 1)
    return png(figure)


def money_saved(evaluation: Evaluation) -> bytes:
    """Amount of the frauds that are caught, a day, against alerts a day."""
    figure, axes = new_axes(
        "alerts a day, highest scores first", "amount of the frauds caught, currency a day"
    )
    _band(axes, evaluation, lambda each: each.fraud_amounts, share=False)
    lost = float(np.mean([each.fraud_amounts.sum() / each.number_of_days for each in evaluation.tested]))
    axes.axhline(lost, color=RED, linestyle="--", linewidth=1.2, label="amount of all frauds, mean")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right")
    return png(figure)


def score_distribution(evaluation: Evaluation) -> bytes:
    """Scores of honest transactions and of frauds."""
    figure, axes = new_axes("score", "transactions of all test periods, logarithmic")
    labels, scores = _pooled(evaluation)
    edges = np.linspace(0, 1, 41).tolist()
    axes.hist(scores[labels == 0], edges, color=GREY, alpha=0.7, label="honest")
    axes.hist(scores[labels == 1], edges, color=RED, alpha=0.7, label="fraud")
    axes.set(yscale="log", xlim=(0, 1))
    axes.legend(loc="upper center")
    return png(figure)


def calibration(evaluation: Evaluation) -> bytes:
    """Share of frauds among the transactions of about the same score."""
    figure, axes = new_axes(
        "mean score of the transactions in a tenth of its range", "share of frauds among these transactions"
    )
    labels, scores = _pooled(evaluation)
    tenth = np.minimum((scores * 10).astype(int), 9)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="score = share of frauds")
    found = [
        (scores[tenth == n].mean(), labels[tenth == n].mean(), (tenth == n).sum()) for n in np.unique(tenth)
    ]
    axes.plot(*zip(*[pair[:2] for pair in found], strict=True), "o-", color=BLUE, label="observed")
    for x, y, count in found:
        axes.annotate(f"{count:,}", (x, y), xytext=(3, 7), textcoords="offset points", fontsize=8)
    axes.set(xlim=(0, 1), ylim=(0, 1.1))
    axes.legend(loc="upper left", title="beside each point: transactions", title_fontsize=8)
    return png(figure)


def importances(values: dict[str, Any]) -> bytes:
    """Permutation importance, the most important on top; a whisker is one standard deviation each way."""
    figure, axes = new_axes("fall of average precision when the feature is shuffled", "", tall=True)
    ordered = sorted(values.items(), key=lambda item: item[1]["mean"])
    axes.barh(
        [name for name, _ in ordered],
        [value["mean"] for _, value in ordered],
        xerr=[value["std"] for _, value in ordered],
        color=BLUE,
        error_kw={"ecolor": GREY, "elinewidth": 1, "capsize": 2},
    )
    axes.tick_params(axis="y", labelsize=8)
    axes.grid(visible=False, axis="y")
    return png(figure)


def _band(
    axes: Axes, evaluation: Evaluation, values: Callable[[Scored], NDArray[np.float64]], *, share: bool
) -> None:
    """Sum of values over alert budgets: the splits' mean as a line, their range as a band."""
    curves = []
    for tested in evaluation.tested:
        total = np.concatenate(([0.0], np.cumsum(values(tested)[tested.by_score()])))
        alerts = np.minimum(_BUDGETS * tested.number_of_days, len(total) - 1)
        curves.append(total[alerts] / (total[-1] if share else tested.number_of_days))
    axes.fill_between(
        _BUDGETS,
        np.min(curves, axis=0),
        np.max(curves, axis=0),
        color=BLUE,
        alpha=0.2,
        linewidth=0,
        label="range",
    )
    axes.plot(_BUDGETS, np.mean(curves, axis=0), color=BLUE, label=f"mean of {len(curves)} splits")
    axes.set_xlim(0, MOST_ALERTS)
    axes.legend(loc="lower right")


def _pooled(evaluation: Evaluation) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Labels and scores of all test periods."""
    tested = [each.labelled() for each in evaluation.tested]
    return np.concatenate([each.labels for each in tested]), np.concatenate([each.scores for each in tested])
