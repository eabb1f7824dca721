"""What share of the transactions of a score are frauds, told on transactions that were not learnt from."""

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from flink_jobs.domain.calibration import Calibration

# A knot stands for so many frauds, so that their share is hardly uncertain by more than a twentieth.
_FRAUDS_A_KNOT = 50
# With few frauds, ten knots of fewer say more than one.
_KNOTS = 10
_DIGITS = 6


def calibrate(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> Calibration:
    """Find the knots of a line that never falls.

    Transactions are put together by their scores, the highest first, until there are 50 frauds, or a tenth of
    all if they are fewer. Equal scores stay together; shares that fall are made level (isotonic regression).

    Args:
        labels: [transactions], 1 for fraud.
        scores: [transactions], by a model that has not learnt from them.

    """
    order = np.argsort(-scores, kind="stable")
    ranked, frauds = scores[order], labels[order].astype(np.int64)
    groups = np.array_split(np.arange(len(ranked)), _cuts(ranked, frauds))
    middles = np.array([ranked[group].mean() for group in groups])
    shares = np.array([frauds[group].mean() for group in groups])
    sizes = np.array([len(group) for group in groups])
    level = IsotonicRegression(y_min=0, y_max=1).fit(middles, shares, sizes).predict(middles)[::-1]
    return Calibration(np.round(middles[::-1], _DIGITS).tolist(), np.round(level, _DIGITS).tolist())


def _cuts(scores: NDArray[np.float64], frauds: NDArray[np.int64]) -> list[int]:
    """Give the rows at which a new group begins."""
    cuts: list[int] = []
    caught = np.concatenate(([0], np.cumsum(frauds)))
    wanted = max(1, min(_FRAUDS_A_KNOT, int(caught[-1]) // _KNOTS))
    begun = 0
    last_of_equals = np.flatnonzero(np.diff(scores) != 0) + 1
    for end in last_of_equals.tolist():
        if caught[end] - caught[begun] >= wanted:
            cuts.append(end)
            begun = end
    return cuts
