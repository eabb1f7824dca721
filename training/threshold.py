"""From which score on an alert is raised: a rule that a business chooses, and the score that follows."""

import argparse
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.options import positive, share

RuleName = Literal["best_f1", "alerts_per_day", "false_positive_rate", "given"]


class Rule(NamedTuple):
    """How a threshold is chosen.

    Attributes:
        name: what decides.
        limit: alerts a day, share of honest transactions, or the score itself; None for best_f1.

    """

    name: RuleName
    limit: float | None = None

    def __str__(self) -> str:
        if self.limit is None:
            return "best F1"
        words = {
            "alerts_per_day": f"{self.limit:g} alerts a day",
            "false_positive_rate": f"{100 * self.limit:g}% of honest transactions at most",
            "given": f"a score of {self.limit:g}",
        }
        return words[self.name]

    def threshold(self, labels: NDArray[np.int8], scores: NDArray[np.float64], number_of_days: int) -> float:
        """Choose a score, 0 to 1, on transactions that the model was not trained on.

        Args:
            labels: [transactions], 1 for fraud.
            scores: [transactions].
            number_of_days: that they were made on.

        """
        if self.limit is None:
            return metrics.threshold_of_best_f1(labels, scores)
        if self.name == "alerts_per_day":
            return metrics.threshold_of_alerts(scores, round(self.limit * number_of_days))
        if self.name == "false_positive_rate":
            return metrics.threshold_of_false_positive_rate(labels, scores, self.limit)
        return self.limit


def add_threshold(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a rule."""
    group = parser.add_argument_group(
        "threshold", "by default the one of best F1 on the end of the training period"
    ).add_mutually_exclusive_group()
    group.add_argument("--threshold", type=share, metavar="SCORE", help="raise an alert from this score on")
    group.add_argument("--alerts-per-day", type=positive, metavar="N", help="as many as can be looked into")
    group.add_argument(
        "--max-false-positive-rate",
        type=share,
        metavar="R",
        help="the share of honest transactions that may raise an alert, such as 0.001",
    )


def rule_of(options: argparse.Namespace) -> Rule:
    """Give the rule that `add_threshold` let one choose."""
    if options.threshold is not None:
        return Rule("given", options.threshold)
    if options.alerts_per_day is not None:
        return Rule("alerts_per_day", options.alerts_per_day)
    if options.max_false_positive_rate is not None:
        return Rule("false_positive_rate", options.max_false_positive_rate)
    return Rule("best_f1")
