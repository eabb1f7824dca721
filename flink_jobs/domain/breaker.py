"""Whether a release raises as many alerts as the manifest of its model expects, since it was taken over.

The question is asked again and again while counts grow, so no fixed number of deviations will do: sooner or
later chance exceeds it. A likelihood ratio, which stands at 1 in the beginning, comes to 1 / FALSE_ALARM with
a probability of at most FALSE_ALARM, however often one looks (Ville's inequality).
"""

from math import exp, log

import msgspec

from flink_jobs.domain.expected_alerts import ExpectedAlerts

# In a change-over, where the rate is the multiple itself; where it is as expected, far less.
FALSE_ALARM = 1e-4
# How many times past the multiple the rate may be; each is tried, and the mean ratio counts.
_TRIED = (1.25, 1.5, 2.0, 4.0, 16.0)
_LARGEST_EXPONENT = 700.0
# Bursts that were to be expected by the time a release counts as tried.
_SETTLED_BURSTS = 25


class Breaker:
    """Counts transactions and alerts since a change-over; one thread adds, another may ask.

    Attributes:
        expected: of the model, with one alert at least; None where its manifest does not say it, and nothing
            is judged.
        multiple: how many times the expected rate is too much; its inverse is too little.
        transactions: that were scored.
        alerts: among them.

    """

    def __init__(self, expected: ExpectedAlerts | None, multiple: float) -> None:
        if expected is not None and not expected.transactions:
            expected = None
        # no alert among N transactions says that alerts are rare, not that there never is one
        self._expects_none = expected is not None and not expected.alerts
        if expected is not None:
            expected = msgspec.structs.replace(expected, alerts=max(expected.alerts, 1))
        self.expected = expected
        self.multiple = multiple
        self.transactions = 0
        self.alerts = 0

    def add(self, transactions: int, alerts: int) -> None:
        """Count a batch."""
        self.transactions += transactions
        self.alerts += alerts

    @property
    def to_expected(self) -> float | None:
        """How many times as many alerts as expected there were; None where that cannot be told."""
        if self.expected is None or not self.transactions:
            return None
        return self.alerts / (self.transactions * self.expected.share)

    @property
    def is_past(self) -> bool:
        """Tell whether the rate lies past the multiple, or its inverse, and not by chance."""
        if self.expected is None:
            return False
        # alerts of one burst count as one
        bursts = self.alerts / self.expected.dispersion
        usual = self.transactions * self.expected.share / self.expected.dispersion
        more = _ratio(bursts, usual * self.multiple, _TRIED)
        if self._expects_none:
            # then there cannot be too few
            return more >= 1 / FALSE_ALARM
        fewer = _ratio(bursts, usual / self.multiple, [1 / factor for factor in _TRIED])
        return max(more, fewer) >= 1 / FALSE_ALARM

    @property
    def is_settled(self) -> bool:
        """Tell whether enough was counted to take the release as one that alerts as expected, unless past."""
        if self.expected is None:
            return True
        return self.transactions * self.expected.share / self.expected.dispersion >= _SETTLED_BURSTS


def _ratio(count: float, mean: float, factors: tuple[float, ...] | list[float]) -> float:
    """Give how many times as likely a Poisson count is if its mean is a factor larger, on average of them."""
    exponents = [count * log(factor) - (factor - 1) * mean for factor in factors]
    return sum(exp(min(each, _LARGEST_EXPONENT)) for each in exponents) / len(exponents)
