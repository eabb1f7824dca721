"""How many alerts a model is expected to raise, and how far their number may vary by chance."""

import msgspec
import numpy as np
from numpy.typing import NDArray


class ExpectedAlerts(msgspec.Struct, frozen=True):
    """Alerts among the latest transactions that a model did not learn from.

    Attributes:
        transactions: how many.
        alerts: among them.
        dispersion: variance of the number of alerts over that number. It is 1 where each comes for itself,
            and more where they come in bursts, of a terminal or a card.

    """

    transactions: int
    alerts: int
    dispersion: float = 1.0

    @property
    def share(self) -> float:
        """Alerts among transactions."""
        return self.alerts / self.transactions


def dispersion(*origins: NDArray[np.object_]) -> float:
    """Estimate the dispersion of a number of alerts: the mean size of the burst that an alert belongs to.

    Where bursts come one independently of another, the variance of the alerts is the sum of the squares of
    the bursts' sizes (a compound Poisson process).

    Args:
        origins: each [alerts], what the bursts may be of, such as terminals; the largest estimate counts.

    """
    sizes = [np.unique(each, return_counts=True)[1] for each in origins if len(each)]
    return max([1.0, *(float(np.square(each).sum() / each.sum()) for each in sizes)])
