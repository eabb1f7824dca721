"""What `fraud-drift` rings at, beside features that moved: a period held to what the manifest promises.

Each test rings by chance in one period of a thousand (FALSE_ALARMS), where the model does as its manifest
says. Frauds and alerts come in bursts, of a terminal or a card, and bursts count as independent, not
transactions.
"""

from math import sqrt
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.expected_alerts import ExpectedAlerts, dispersion

FALSE_ALARMS = 0.001
# Share of alerts, frauds among them and among others, alerts that change, labels.
TESTS = 5
_DEVIATIONS = NormalDist().inv_cdf(1 - FALSE_ALARMS / 2)
# A probability may be off by so much of what came true: as much as calibration is held to.
TOLERANCE = 0.2
# Knots are of days no more than a test has, so they vary by chance as much as the period does.
_VARIANCE_OF_KNOTS = 2
# Renewals come by the hour, training by the day, and labels may come in between.
CHANGED_ALERTS = 0.05


class Foretold(msgspec.Struct, frozen=True):
    """Frauds that probabilities foretold, and those that came true.

    Attributes:
        transactions: whose labels are known.
        expected: sum of their probabilities.
        frauds: among them.
        deviation: of `frauds` from `expected` by chance (standard deviation).

    """

    transactions: int
    expected: float
    frauds: int
    deviation: float

    @property
    def rings(self) -> bool:
        """Tell whether they differ by more than a fifth of the frauds and chance."""
        beyond = abs(self.frauds - self.expected) - TOLERANCE * self.frauds
        return beyond > _DEVIATIONS * self.deviation


class Changed(msgspec.Struct, frozen=True):
    """Alerts that depend on whether terminals are as they were served, or as they are known.

    Attributes:
        alerts: by what was served, by what is known, or by both.
        changed: by one of these only.
        deviation: of `changed` by chance (standard deviation), if a twentieth of the bursts changes.

    """

    alerts: int
    changed: int
    deviation: float

    @property
    def rings(self) -> bool:
        """Tell whether more than a twentieth of the alerts change, beyond chance."""
        return self.changed - CHANGED_ALERTS * self.alerts > _DEVIATIONS * self.deviation


def foretold(
    probabilities: NDArray[np.float64],
    frauds: NDArray[np.bool_],
    dispersion: float,
    *origins: NDArray[np.object_],
) -> Foretold:
    """Compare probabilities with what came true.

    Args:
        probabilities: [transactions].
        frauds: [transactions].
        dispersion: of alerts, which that of frauds is taken to reach at least.
        origins: each [transactions], what frauds may come in bursts of.

    """
    expected, count = float(probabilities.sum()), int(frauds.sum())
    # what is left once all probabilities are off by the same factor
    left = frauds - probabilities * (count / expected if expected else 0.0)
    bursts = [
        float(np.square(np.bincount(np.unique(each, return_inverse=True)[1], left)).sum()) for each in origins
    ]
    least = float((probabilities * (1 - probabilities)).sum()) * dispersion
    return Foretold(len(frauds), expected, count, sqrt(_VARIANCE_OF_KNOTS * max([least, *bursts])))


def changed(differs: NDArray[np.bool_], *origins: NDArray[np.object_]) -> Changed:
    """Count the alerts that differ: [alerts], as are the origins, as of `foretold`."""
    deviation = sqrt(CHANGED_ALERTS * (1 - CHANGED_ALERTS) * len(differs) * dispersion(*origins))
    return Changed(len(differs), int(differs.sum()), deviation)


def alert_share_bounds(expected: ExpectedAlerts, period: ExpectedAlerts) -> tuple[float, float]:
    """Give the least and the largest share of alerts that chance gives in a period.

    The square root of a count varies by as much whatever the count is, by half its dispersion's root.
    """
    variance = (
        expected.dispersion / expected.transactions
        + max(expected.dispersion, period.dispersion) / period.transactions
    ) / 4
    root, reach = sqrt(expected.share), _DEVIATIONS * sqrt(variance)
    return max(root - reach, 0.0) ** 2, (root + reach) ** 2


def is_silence(payments: int, labelled_share: float, dispersion: float) -> bool:
    """Tell whether labels are missing: so many payments without any, where a share had one before.

    Args:
        payments: whose labels should be in, and that are later than all that have one.
        labelled_share: of the payments before.
        dispersion: of these labels, see `ExpectedAlerts`.

    """
    return payments > 0 and float(np.exp(-payments * labelled_share / dispersion)) < FALSE_ALARMS
