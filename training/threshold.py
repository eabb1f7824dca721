"""The threshold: a rule that a business chooses, and the score that follows from it."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training import metrics

RuleName = Literal["best_f1", "alerts_per_day", "false_positive_rate", "given"]


class Rule(NamedTuple):
    """How a threshold is chosen.

    Attributes:
        name: of the rule.
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
            number_of_days: length of their period.

        """
        if self.limit is None:
            return metrics.threshold_of_best_f1(labels, scores)
        if self.name == "alerts_per_day":
            return metrics.threshold_of_alerts(scores, round(self.limit * number_of_days))
        if self.name == "false_positive_rate":
            return metrics.threshold_of_false_positive_rate(labels, scores, self.limit)
        return self.limit
