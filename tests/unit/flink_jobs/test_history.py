"""The fold: windows over event time, whatever the order of arrival."""

import math
import random
import tracemalloc

import numpy as np
import pytest
import saved_history
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.domain.features import FEATURE_NAMES, NO_RISK, compute_features
from flink_jobs.domain.history import (
    DAY_S,
    DROPPED_AT_ONCE,
    ENTRY,
    ENTRY_BYTES,
    KEPT_S,
    NO_HISTORY,
    WINDOW_DAYS,
    check_format,
    fold,
    last_seen_s,
)
from flink_jobs.domain.windows import FoldedTransactions

START_S = 1_530_403_200.0  # 2018-07-01T00:00:00Z, a Sunday

transactions = st.lists(
    st.tuples(
        st.integers(0, 30 * 24).map(lambda hours: START_S + hours * 3600.0),
        st.integers(0, 50_000).map(lambda cents: cents / 100),
    ),
    max_size=60,
).map(lambda pairs: [(time_s, amount, f"t{n}") for n, (time_s, amount) in enumerate(pairs)])


def folded(*arriving: tuple[float, float, str]) -> bytes:
    """The history after these transactions."""
    history = NO_HISTORY
    for time_s, amount, identity in arriving:
        history, _ = fold(history, time_s, amount, identity)
    return history


def entries(history: bytes) -> list[tuple[float, float, int]]:
    """What a history holds, without the entry that tells its format."""
    found: list[tuple[float, float, int]] = np.frombuffer(history, ENTRY)[1:].tolist()
    return found


def features(history: bytes, time_s: float, amount: float, identity: str) -> dict[str, float]:
    """One transaction's features, at an unknown terminal."""
    folded = FoldedTransactions({"customer": history}.get)
    folded.add("customer", time_s, amount, identity)
    risks = np.array([NO_RISK], dtype=np.float32)
    row = compute_features(folded.windows(), np.array([time_s]), np.array([amount]), risks)[0]
    return dict(zip(FEATURE_NAMES, row.tolist(), strict=True))


@given(transactions)
def test_windows_hold_what_arrived_in_them(arriving: list[tuple[float, float, str]]) -> None:
    history = NO_HISTORY
    for number, (time_s, amount, identity) in enumerate(arriving, start=1):
        found = features(history, time_s, amount, identity)
        history, _ = fold(history, time_s, amount, identity)
        for days in WINDOW_DAYS:
            within = [a for when, a, _ in arriving[:number] if time_s - days * DAY_S < when <= time_s]
            assert found[f"customer_count_{days}d"] == len(within)
            assert found[f"customer_mean_{days}d"] == pytest.approx(sum(within) / len(within))


@given(transactions, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_change_what_is_kept(
    arriving: list[tuple[float, float, str]], order: random.Random
) -> None:
    mixed = list(arriving)
    order.shuffle(mixed)
    history = folded(*mixed)
    assert history == folded(*sorted(arriving))
    assert [time_s for time_s, *_ in entries(history)] == sorted(time_s for time_s, *_ in arriving)


@given(transactions)
def test_a_repeat_changes_nothing_and_gets_the_same_features(
    arriving: list[tuple[float, float, str]],
) -> None:
    history = NO_HISTORY
    for transaction in arriving:
        first = features(history, *transaction)
        history, end = fold(history, *transaction)
        assert fold(history, *transaction) == (history, end)
        assert features(history, *transaction) == first


def test_a_zero_of_either_sign_is_the_same_amount() -> None:
    history = folded((START_S, 0.0, "t"))
    assert fold(history, START_S, -0.0, "t")[0] == history
    assert folded((START_S, -0.0, "t")) == history


@given(transactions)
def test_a_transaction_takes_20_bytes(arriving: list[tuple[float, float, str]]) -> None:
    history = folded(*arriving)
    assert len(history) == 20 * (1 + len(arriving))
    assert check_format(history) is history


def test_entries_past_every_window_are_dropped_once_there_are_enough() -> None:
    old = [(START_S + number, 1.0, f"old{number}") for number in range(DROPPED_AT_ONCE)]
    history = folded(*old, (START_S + KEPT_S - 1, 2.0, "kept"))
    # the youngest of the old ones is still within reach
    within, _ = fold(history, START_S + KEPT_S + DROPPED_AT_ONCE - 1.5, 3.0, "new")
    assert within[: len(history)] == history
    history, end = fold(history, START_S + KEPT_S + DROPPED_AT_ONCE - 1, 3.0, "new")
    assert [amount for _, amount, _ in entries(history)] == [2.0, 3.0]
    assert end == len(history)
    assert history.startswith(NO_HISTORY)


def test_a_record_a_week_late_still_sees_its_whole_month() -> None:
    history = folded(*((START_S + day * DAY_S, 10.0, f"t{day}") for day in range(38)))
    found = features(history, START_S + 31 * DAY_S, 40.0, "late")
    assert found["customer_count_30d"] == 31
    assert found["customer_mean_1d"] == 25.0


def test_a_record_older_than_the_history_is_compared_with_itself() -> None:
    history = folded((START_S + 100 * DAY_S, 5.0, "new"))
    for number in range(DROPPED_AT_ONCE - 1):
        found = features(history, START_S - number * 30 * DAY_S, 7.0, "ancient")
        assert found["customer_count_30d"] == 1
        assert found["customer_mean_30d"] == 7.0
        history, end = fold(history, START_S - number * 30 * DAY_S, 7.0, "ancient")
        assert end == 2 * ENTRY_BYTES
    # it is dropped at once, with the others
    found = features(history, START_S - 1000 * DAY_S, 7.0, "most ancient")
    assert found["customer_count_30d"] == 0
    assert found["customer_mean_30d"] == 7.0
    assert found["amount_to_mean_30d"] == 1.0
    assert found["largest_7d_to_mean_before"] == 1.0
    assert fold(history, START_S - 1000 * DAY_S, 7.0, "most ancient") == (
        folded((START_S + 100 * DAY_S, 5.0, "new")),
        ENTRY_BYTES,
    )


def test_the_largest_amount_of_a_week_is_compared_with_the_time_before() -> None:
    def after(*payments: tuple[float, float]) -> float:
        *past, last = [(START_S + day * DAY_S, amount, f"t{day}") for day, amount in payments]
        return features(folded(*past), *last)["largest_7d_to_mean_before"]

    payments = [(0, 10.0), (1, 30.0), (9, 100.0), (10, 5.0), (17, 5.0)]
    assert after(*payments[:1]) == 1.0  # nothing before: the mean is its own
    assert after(*payments[:2]) == 30.0 / 20.0
    assert after(*payments[:3]) == 5.0  # 100 against 10 and 30
    assert after(*payments[:4]) == 5.0  # a small one in the same week
    assert after(*payments) == pytest.approx(5.0 / ((10 + 30 + 100 + 5) / 4))
    assert after((0, 0.0)) == after((0, 0.0), (8, 4.0)) == 1.0  # nothing to divide by
    # nor here, where the month and its last week have the same sum, added in another order
    assert after(*((day, 0.0) for day in range(5)), *((20 + n / 3, n / 10) for n in range(1, 18))) == 1.0


def test_what_savepoints_hold_is_still_read() -> None:
    """Another layout of these bytes takes another number in front, and a new savepoint."""
    payments = ((START_S + second, amount, terminal) for second, amount, terminal in saved_history.PAYMENTS)
    assert folded(*payments) == saved_history.BYTES
    assert check_format(saved_history.BYTES) is saved_history.BYTES


@pytest.mark.parametrize("stored", [b"", b"\x01", b"\x01" + b"\0" * 20, NO_HISTORY + b"\0" * 19])
def test_another_format_is_refused(stored: bytes) -> None:
    with pytest.raises(ValueError, match="customer history"):
        check_format(stored)


def test_weekend_and_night_are_those_in_utc() -> None:
    def told(time_s: float) -> tuple[float, float]:
        found = features(NO_HISTORY, time_s, 1.0, "t")
        return found["is_weekend"], found["is_night"]

    assert told(START_S) == (1.0, 1.0)  # Sunday, midnight
    assert told(START_S + 7 * 3600 - 1) == (1.0, 1.0)
    assert told(START_S + 7 * 3600) == (1.0, 0.0)
    assert told(START_S + DAY_S) == (0.0, 1.0)  # Monday
    assert told(START_S + 6 * DAY_S) == (1.0, 1.0)  # Saturday


def test_a_history_tells_when_its_customer_was_last_seen() -> None:
    assert last_seen_s(folded((START_S + 5, 1.0, "new"), (START_S, 1.0, "late"))) == START_S + 5
    assert last_seen_s(NO_HISTORY) == -math.inf


def test_a_batch_of_one_busy_customer_takes_little_memory() -> None:
    """What a batch keeps does not grow with the pace of one customer."""
    payments = [(START_S + number * 20.0, 10.0, f"t{number}") for number in range(20_000)]
    busy = folded(*payments[:-4000])
    tracemalloc.start()
    try:
        transactions = FoldedTransactions({"plain": folded(*payments[:1000]), "summed": busy}.get)
        for number in range(2000):
            transactions.add("plain", START_S + 20_000.0 + number / 1000, 10.0, f"t{number}")
            transactions.add("summed", *payments[number - 4000])
        counts = transactions.windows().counts
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # of 4320 within a day, 19 lie in the hour in which the day begins
    assert counts[:2].tolist() == [[1001] * 3, [4301, 16_001, 16_001]]
    assert peak < 24 * 1024 * 1024, f"{peak / 1e6:.0f} MB"
