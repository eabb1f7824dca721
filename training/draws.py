"""How far a figure is chance: cards are drawn again and again, each with all its transactions."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# The ends of an interval of 90 %; each is a bound of 95 % on its side.
PERCENTILES = (5, 95)


def draws(customers: NDArray[np.object_] | None, rows: int, times: int) -> Iterator[NDArray[np.float64]]:
    """Give again and again how often each row counts, where as many cards are drawn as there are.

    Args:
        customers: [rows], whose card; None draws each row by itself.
        rows: their number.
        times: how often; equal arguments give equal draws.

    """
    cards = np.arange(rows) if customers is None else np.unique(customers.astype(str), return_inverse=True)[1]
    number = int(cards.max()) + 1
    random = np.random.default_rng(0)
    for _ in range(times):
        drawn = np.bincount(random.integers(0, number, number), minlength=number)
        yield drawn[cards].astype(np.float64)


def interval(
    figure: Callable[[NDArray[np.float64]], float],
    customers: NDArray[np.object_] | None,
    rows: int,
    times: int = 500,
) -> tuple[float, float] | None:
    """Give the interval of a figure of 90 %; None where most draws have no such figure (NaN)."""
    found = np.array([figure(counts) for counts in draws(customers, rows, times)])
    found = found[np.isfinite(found)]
    if len(found) < times / 2:
        return None
    lower, upper = np.percentile(found, PERCENTILES)
    return float(lower), float(upper)


class Ranked(NamedTuple):
    """Transactions in the order of their scores.

    Attributes:
        order: numbers of rows, the highest score first.
        frauds: [rows], 1 for fraud, in that order.
        ends: the last of each run of equal scores.

    """

    order: NDArray[np.int64]
    frauds: NDArray[np.int8]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, labels: NDArray[np.int8], scores: NDArray[np.float64]) -> "Ranked":
        """Put rows in the order of their scores."""
        order = np.argsort(-scores, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, [True]))
        return cls(order, labels[order], ends)

    def average_precision(self, counts: NDArray[np.float64]) -> float:
        """Give it where each row counts so often: that of `training.metrics` where each counts once.

        NaN where no fraud counts.
        """
        counted = counts[self.order]
        all_rows, hits = np.cumsum(counted)[self.ends], np.cumsum(counted * self.frauds)[self.ends]
        if not hits[-1]:
            return float("nan")
        precision = hits / np.maximum(all_rows, 1)
        return float((np.diff(hits, prepend=0.0) * precision).sum() / hits[-1])
