"""How far figures of scores that served are chance, where few control transactions stand for many others.

Of control transactions, few turn out to be frauds; where none does, drawing cards again would say without
any doubt that none was missed. So sums over control transactions are drawn from the
gamma distributions of Fay and Feuer ("Confidence intervals for directly standardized rates", 1997), whose
limits hold for few events of any weight; where there is no event, the upper one is three times the weight.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.draws import PERCENTILES, Ranked

_FEWEST_SHARE = 0.5


class Figure(NamedTuple):
    """A figure with its interval of 90 %; where it cannot be told, None and the reason.

    Attributes:
        value: what was measured.
        lower: a bound of 95 % on its side, as is `upper`; None where most draws have no such figure.
        reason: why there is no value.

    """

    value: float | None
    lower: float | None = None
    upper: float | None = None
    reason: str | None = None


def unknown(reason: str) -> Figure:
    """Say why a figure cannot be told."""
    return Figure(None, reason=reason)


def told(value: float, low: NDArray[np.float64], high: NDArray[np.float64]) -> Figure:
    """Give a figure with its interval, from draws for the lower and for the upper bound."""
    lower, upper = (
        _end(drawn, percentile, outer, value)
        for drawn, percentile, outer in zip((low, high), PERCENTILES, (min, max), strict=True)
    )
    return Figure(value, lower, upper)


def _end(
    drawn: NDArray[np.float64], percentile: int, outer: Callable[[float, float], float], value: float
) -> float | None:
    finite = drawn[np.isfinite(drawn)]
    if len(finite) < _FEWEST_SHARE * len(drawn):
        return None
    return outer(float(np.percentile(finite, percentile)), value)


def limits(
    parts: NDArray[np.float64], largest: float, total: float, random: np.random.Generator, times: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw a sum over a sample: for its lower bound, and for its upper bound.

    Args:
        parts: what each adds that is independent of the others.
        largest: what one more would add.
        total: the sum is no more, as all together are no more.
        random: source of the draws.
        times: how many.

    """
    value, variance = float(parts.sum()), float((parts**2).sum())

    def drawn(mean: float, spread: float) -> NDArray[np.float64]:
        if not spread:
            return np.zeros(times)
        return np.minimum(random.gamma(mean**2 / spread, spread / mean, times), total)

    return drawn(value, variance), drawn(value + largest, variance + largest**2)


class WeightedRanking:
    """Average precision where rows stand for others, some of them as control transactions.

    Precision at a fraud is that of the rows down to it: of the others by their weights, of itself once, as
    those for which it stands lie anywhere. Where each stands for itself, it is that of `training.metrics`.
    """

    def __init__(
        self,
        labels: NDArray[np.int8],
        scores: NDArray[np.float64],
        weights: NDArray[np.float64],
        control: NDArray[np.bool_],
    ) -> None:
        """Take rows with labels; `weights` say how many each stands for, `control` which are a sample's."""
        ranked = Ranked.of(labels, scores)
        self._order, self._weights = ranked.order, weights[ranked.order]
        self._is_fraud = ranked.frauds == 1
        self._frauds = np.flatnonzero(self._is_fraud)
        # rows of equal scores count together
        self._ends = ranked.ends[np.searchsorted(ranked.ends, self._frauds)]
        self._control = control[ranked.order][self._frauds]
        precision, among = self._at_frauds(np.ones(len(labels))), self._weights[self._frauds] * self._control
        self._of_control = float(precision @ among) / among.sum() if among.any() else 0.0

    def at_certain(self, counts: NDArray[np.float64]) -> float:
        """Sum precision at the frauds that are not of the sample, where each row counts so often, [rows]."""
        counted = (counts[self._order] * self._weights)[self._frauds]
        return float(self._at_frauds(counts) @ (counted * ~self._control))

    def average(
        self, precision: NDArray[np.float64], frauds: NDArray[np.float64], of_control: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Give average precision; NaN where no fraud counts.

        Args:
            precision: [draws] of `at_certain`.
            frauds: [draws] that are not of the sample.
            of_control: [draws] that the sample stands for.

        """
        among = frauds + of_control
        found: NDArray[np.float64] = (precision + self._of_control * of_control) / np.where(
            among > 0, among, np.nan
        )
        return found

    def _at_frauds(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give precision at each fraud, the highest score first; of frauds that do not count, any number."""
        counted = counts[self._order] * self._weights
        others = self._weights[self._frauds] - 1
        among = np.cumsum(counted)[self._ends] - others
        hits = np.cumsum(counted * self._is_fraud)[self._ends] - others
        found: NDArray[np.float64] = hits / np.where(among > 0, among, 1.0)
        return found
