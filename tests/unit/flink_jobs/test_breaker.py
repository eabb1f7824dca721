"""The breaker stays shut by chance, and opens where the rate of alerts is past the multiple."""

import numpy as np
import pytest

from flink_jobs.domain.breaker import Breaker
from flink_jobs.domain.expected_alerts import ExpectedAlerts

EXPECTED = ExpectedAlerts(transactions=60_000, alerts=600, dispersion=4.0)


def opened_after(times: float, batches: int = 2_000, seed: int = 0) -> int | None:
    """Score batches of 100 with so many times the alerts, in bursts of four; how many until it opens."""
    rng = np.random.default_rng(seed)
    breaker = Breaker(EXPECTED, 3.0)
    bursts = rng.poisson(100 * EXPECTED.share * times / 4, batches)
    for number, alerts in enumerate((4 * bursts).tolist(), 1):
        breaker.add(100, alerts)
        if breaker.is_past:
            return number
    return None


@pytest.mark.parametrize("times", [0.5, 1.0, 2.0, 3.0])
def test_what_is_not_past_the_multiple_never_opens_it_however_often_one_looks(times: float) -> None:
    assert [opened_after(times, seed=seed) for seed in range(20)] == [None] * 20


@pytest.mark.parametrize(
    ("times", "batches"), [(4.0, 1_500), (10.0, 60), (50.0, 10), (0.0, 2_000), (0.1, 2_000)]
)
def test_what_is_past_it_opens_it_soon(times: float, batches: int) -> None:
    found = [opened_after(times, batches, seed) for seed in range(20)]
    assert None not in found


def test_a_first_burst_does_not_open_it() -> None:
    breaker = Breaker(EXPECTED, 3.0)
    breaker.add(10, 8)
    assert breaker.to_expected == pytest.approx(80)
    assert not breaker.is_past
    # single alerts would be more than chance
    alone = Breaker(ExpectedAlerts(60_000, 600), 3.0)
    alone.add(10, 8)
    assert alone.is_past


def test_a_model_that_does_not_say_what_it_expects_is_not_judged() -> None:
    for expected in (None, ExpectedAlerts(0, 0)):
        breaker = Breaker(expected, 3.0)
        breaker.add(1_000, 1_000)
        assert breaker.expected is None
        assert breaker.to_expected is None
        assert not breaker.is_past


def test_a_model_of_which_no_alert_is_expected_is_judged_as_if_there_were_one() -> None:
    breaker = Breaker(ExpectedAlerts(60_000, 0), 3.0)
    breaker.add(600_000, 20)
    assert breaker.to_expected == pytest.approx(2)
    assert not breaker.is_past
    breaker.add(0, 80)
    assert breaker.to_expected == pytest.approx(10)
    assert breaker.is_past


def test_where_no_alert_is_expected_none_are_never_too_few() -> None:
    none, one = (Breaker(ExpectedAlerts(60_000, alerts), 3.0) for alerts in (0, 1))
    for breaker in (none, one):
        breaker.add(10**8, 0)
    assert one.is_past
    assert not none.is_past


def test_nothing_is_past_before_the_first_batch_and_large_counts_do_not_overflow() -> None:
    assert not Breaker(EXPECTED, 3.0).is_past
    assert Breaker(EXPECTED, 3.0).to_expected is None
    breaker = Breaker(EXPECTED, 3.0)
    breaker.add(10**10, 10**10)
    assert breaker.is_past
