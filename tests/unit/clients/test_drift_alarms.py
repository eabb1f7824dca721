"""Alarms ring by chance as seldom as they say, and for what they are for."""

import numpy as np
import pytest

from clients.drift_alarms import (
    FALSE_ALARMS,
    Changed,
    Foretold,
    alert_share_bounds,
    changed,
    foretold,
    is_silence,
)
from flink_jobs.domain.expected_alerts import ExpectedAlerts, dispersion

PERIODS = 3_000
TRANSACTIONS = 60_000
# by chance 3 of 3,000 periods ring; 10 or more in one run of 1,000
MOST_RINGING = 10


def bursts(rng: np.random.Generator, mean: float, size: float) -> ExpectedAlerts:
    """Draw a period's alerts: so many bursts on average, of so many alerts each."""
    sizes = 1 + rng.poisson(size - 1, rng.poisson(mean))
    origins = np.repeat(np.arange(len(sizes)), sizes).astype(object)
    return ExpectedAlerts(TRANSACTIONS, int(sizes.sum()), dispersion(origins))


@pytest.mark.parametrize(("mean", "size"), [(60, 8.0), (15, 5.0), (400, 1.0)])
def test_alerts_that_come_in_bursts_ring_as_seldom_as_is_said(mean: float, size: float) -> None:
    rng = np.random.default_rng(0)
    ringing = 0
    for _ in range(PERIODS):
        then, now = bursts(rng, mean, size), bursts(rng, mean, size)
        low, high = alert_share_bounds(then, now)
        ringing += not low <= now.share <= high
    assert ringing <= MOST_RINGING
    # taken for single ones, they would ring again and again
    if size > 1:
        alone = ExpectedAlerts(TRANSACTIONS, round(mean * size))
        low, high = alert_share_bounds(alone, alone)
        assert sum(not low <= bursts(rng, mean, size).share <= high for _ in range(300)) > 5


def test_a_share_of_alerts_that_doubles_or_halves_rings() -> None:
    rng = np.random.default_rng(1)
    then = bursts(rng, 120, 4.0)
    for mean in (45, 300):
        now = bursts(rng, mean, 4.0)
        low, high = alert_share_bounds(then, now)
        assert not low <= now.share <= high


def probable(rng: np.random.Generator, factor: float) -> Foretold:
    """Draw frauds of alerts whose probabilities are off by a factor; a terminal's are all of a kind."""
    terminals = np.repeat(np.arange(80), 5)
    probabilities = np.repeat(rng.uniform(0.5, 0.9, 80), 5)
    frauds = np.repeat(rng.random(80), 5) < probabilities * factor
    return foretold(probabilities, frauds, 5.0, terminals.astype(object))


def test_probabilities_that_come_true_are_silent_and_others_ring() -> None:
    rng = np.random.default_rng(2)
    assert sum(probable(rng, 1.0).rings for _ in range(PERIODS)) <= MOST_RINGING
    assert all(probable(rng, 0.25).rings for _ in range(100))


def test_a_few_frauds_that_do_not_come_do_not_ring() -> None:
    assert not foretold(np.full(10, 0.5), np.zeros(10, np.bool_), 1.0).rings
    assert foretold(np.full(100, 0.5), np.zeros(100, np.bool_), 1.0).rings
    # where they come together, as few may be missing
    assert not foretold(np.full(100, 0.5), np.zeros(100, np.bool_), 8.0).rings
    assert not foretold(np.zeros(5), np.zeros(5, np.bool_), 1.0).rings


def test_alerts_that_change_ring_where_more_than_a_twentieth_of_the_bursts_does() -> None:
    rng = np.random.default_rng(3)
    terminals = np.repeat(np.arange(60), 5).astype(object)

    def drawn(share: float) -> Changed:
        return changed(np.repeat(rng.random(60) < share, 5), terminals)

    assert sum(drawn(0.05).rings for _ in range(PERIODS)) <= 3 * MOST_RINGING
    assert sum(drawn(0.02).rings for _ in range(PERIODS)) <= MOST_RINGING
    assert all(drawn(0.5).rings for _ in range(100))
    assert not changed(np.zeros(0, np.bool_), np.zeros(0, object)).rings


def test_silence_rings_where_labels_would_have_come() -> None:
    assert not is_silence(0, 1.0, 1.0)
    assert is_silence(1_000, 1.0, 10.0)
    assert not is_silence(1_000, 0.005, 1.0)
    assert is_silence(2_000, 0.005, 1.0)
    assert not is_silence(2_000, 0.005, 2.0)
    assert np.exp(-10) < FALSE_ALARMS
