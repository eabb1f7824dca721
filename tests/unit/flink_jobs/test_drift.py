"""PSI is 0 where nothing has changed, and large where something has."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.domain.drift import (
    BINS,
    SCORE,
    Distribution,
    DriftCounts,
    distribution,
    reading,
    stability_index,
)

values = st.lists(
    st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 1.0, 38.0]),
    min_size=1,
    max_size=300,
).map(lambda drawn: np.array(drawn, dtype=np.float32))
seeds = st.integers(0, 2**32 - 1)


def counted(then: Distribution, now: np.ndarray, **window: int | None) -> DriftCounts:
    counts = DriftCounts({"amount": then, SCORE: then}, sampled_share=1, **window)
    for first in range(0, len(now), 37):
        batch = now[first : first + 37].astype(np.float32)
        counts.add(batch[:, np.newaxis], batch)
    return counts


@given(values)
def test_the_same_values_have_not_changed(drawn: np.ndarray) -> None:
    found = distribution(drawn)
    assert len(found.shares) == len(found.edges) + 1
    assert sum(found.shares) == pytest.approx(1, abs=1e-5)
    assert found.edges == sorted(set(found.edges))
    counts = counted(found, drawn)
    assert counts.transactions == len(drawn)
    assert counts.indexes() == pytest.approx({"amount": 0, SCORE: 0}, abs=1e-4)


@given(values, values)
def test_psi_is_never_negative_and_knows_no_direction(one: np.ndarray, other: np.ndarray) -> None:
    then = distribution(one)
    now = counted(then, other).shares()["amount"]
    assert sum(now) == pytest.approx(1)
    index = stability_index(then.shares, now)
    assert index >= 0
    assert index == pytest.approx(stability_index(now, then.shares))


@settings(max_examples=30)
@given(seeds, st.sampled_from(["normal", "counts", "rare", "flag", "constant"]))
def test_a_planted_shift_is_found_and_another_sample_is_not_one(seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)

    def sample(shift: float) -> np.ndarray:
        drawn = {
            "normal": lambda: random.normal(shift, 1, 5000),
            "counts": lambda: random.poisson(20 * (1 + shift / 2), 5000),
            # most terminals have no fraud: half of the rest is worse than it was
            "rare": lambda: np.where(random.random(5000) < 0.9, 0, random.beta(2, 8, 5000) + shift / 2),
            "flag": lambda: random.random(5000) < 0.1 + shift / 2,
            "constant": lambda: np.full(5000, 7.0) + shift,
        }
        return np.asarray(drawn[kind](), dtype=np.float32)

    then = distribution(sample(0))
    assert reading(counted(then, sample(0)).indexes()["amount"]) == "none"
    assert reading(counted(then, sample(1)).indexes()["amount"]) == "large"


def test_bins_hold_equally_many_and_a_frequent_value_has_its_own() -> None:
    random = np.random.default_rng(0)
    even = distribution(random.gamma(2, 40, 10_000).astype(np.float32))
    assert even.shares == pytest.approx([0.1] * BINS, abs=0.001)
    rare = np.where(random.random(10_000) < 0.9, 0, random.random(10_000)).astype(np.float32)
    first, *others = distribution(rare).shares
    assert first == pytest.approx((rare == 0).mean())
    assert len(others) == BINS
    assert others == pytest.approx([(1 - first) / BINS] * BINS, abs=0.001)
    assert distribution(np.array([0, 0, 1], dtype=np.float32)).edges == [0.5]


def test_psi_is_what_its_formula_says() -> None:
    index = stability_index([0.5, 0.5], [0.8, 0.2])
    assert index == pytest.approx(0.3 * np.log(0.8 / 0.5) + -0.3 * np.log(0.2 / 0.5))
    assert [reading(each) for each in (0.0, 0.099, 0.1, 0.25, 0.26)] == [
        "none",
        "none",
        "some",
        "some",
        "large",
    ]


def test_the_past_fades_in_a_window_and_counts_without_one() -> None:
    then = distribution(np.arange(100, dtype=np.float32))
    history = np.concatenate([np.full(5000, 5.0), np.full(5000, 95.0)])
    faded, whole = counted(then, history, window=500), counted(then, history, window=None)
    assert faded.transactions < 2 * 500 + 1024
    assert faded.shares()["amount"][-1] > 0.95
    assert whole.shares()["amount"][-1] == pytest.approx(0.5)


def test_live_a_sample_of_the_batches_is_counted() -> None:
    values = np.arange(100, dtype=np.float32)
    then = distribution(values)
    counts = DriftCounts({"amount": then, SCORE: then})
    for _ in range(1000):
        counts.add(values[:, np.newaxis], values)
    assert 15_000 < counts.transactions < 35_000
    assert counts.indexes() == pytest.approx({"amount": 0, SCORE: 0}, abs=1e-6)


def test_the_share_of_alerts_and_the_bin_that_moved_most() -> None:
    then = distribution(np.linspace(0, 1, 1001, dtype=np.float32), [0.95])
    counts = counted(then, np.repeat(np.float32([0.5, 0.97]), 300))
    assert counts.share_from(SCORE, 0.95) == pytest.approx((0.05, 0.5), abs=0.001)
    low, high, before, now = counts.moved(SCORE)
    assert (low, high) == (0.95, None)
    assert (before, now) == pytest.approx((0.05, 0.5), abs=0.001)
