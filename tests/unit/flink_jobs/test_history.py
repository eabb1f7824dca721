"""The fold: windows over event time, whatever the order of arrival."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.domain.features import FEATURE_NAMES, NO_RISK, compute_features
from flink_jobs.domain.history import DAY_S, KEPT_S, WINDOW_DAYS, History, expired_customers

START_S = 1_530_403_200.0  # 2018-07-01T00:00:00Z, a Sunday

transactions = st.lists(
    st.tuples(
        st.integers(0, 30 * 24).map(lambda hours: START_S + hours * 3600.0),
        st.integers(0, 50_000).map(lambda cents: cents / 100),
    ),
    max_size=60,
).map(lambda pairs: [(time_s, amount, f"t{n}") for n, (time_s, amount) in enumerate(pairs)])


def by_definition(past: list[tuple[float, float, str]], time_s: float) -> list[tuple[int, float]]:
    """Count and sum in (time_s - window, time_s], read off the definition."""
    found = []
    for days in WINDOW_DAYS:
        amounts = [amount for when, amount, _ in past if time_s - days * DAY_S < when <= time_s]
        found.append((len(amounts), sum(amounts)))
    return found


@given(transactions)
def test_windows_hold_what_arrived_in_them(arriving: list[tuple[float, float, str]]) -> None:
    history = History()
    for number, (time_s, amount, identity) in enumerate(arriving, start=1):
        history.add(time_s, amount, identity)
        windows, largest = history.windows(time_s)
        for (count, total), (expected_count, expected) in zip(
            windows, by_definition(arriving[:number], time_s), strict=True
        ):
            assert count == expected_count
            assert total == pytest.approx(expected)
        assert largest == max(
            amount for when, amount, _ in arriving[:number] if time_s - 7 * DAY_S < when <= time_s
        )


@given(transactions, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_change_what_is_kept(
    arriving: list[tuple[float, float, str]], order: random.Random
) -> None:
    straight, shuffled = History(), History()
    for transaction in sorted(arriving):
        straight.add(*transaction)
    mixed = list(arriving)
    order.shuffle(mixed)
    for transaction in mixed:
        shuffled.add(*transaction)
    assert sorted(zip(straight.times, straight.amounts, straight.ids, strict=True)) == sorted(
        zip(shuffled.times, shuffled.amounts, shuffled.ids, strict=True)
    )


@given(transactions)
def test_a_repeat_changes_nothing_and_gets_the_same_features(
    arriving: list[tuple[float, float, str]],
) -> None:
    history = History()
    for time_s, amount, identity in arriving:
        first = compute_features(history, NO_RISK, time_s, amount, identity)
        packed = history.to_bytes()
        assert compute_features(history, NO_RISK, time_s, amount, identity) == first
        assert history.to_bytes() == packed


@given(transactions)
def test_packing_loses_nothing(arriving: list[tuple[float, float, str]]) -> None:
    history = History()
    for transaction in arriving:
        history.add(*transaction)
    again = History.from_bytes(history.to_bytes())
    assert (again.times, again.amounts, again.ids) == (history.times, history.amounts, history.ids)
    assert len(history.to_bytes()) == 1 + 20 * len(history)


def test_entries_past_every_window_are_dropped() -> None:
    history = History()
    history.add(START_S, 1.0, "old")
    history.add(START_S + KEPT_S - 1, 2.0, "kept")
    assert len(history) == 2
    history.add(START_S + KEPT_S, 3.0, "new")
    assert list(history.amounts) == [2.0, 3.0]


def test_a_record_a_week_late_still_sees_its_whole_month() -> None:
    history = History()
    for day in range(38):
        history.add(START_S + day * DAY_S, 10.0, f"t{day}")
    features = dict(
        zip(
            FEATURE_NAMES, compute_features(history, NO_RISK, START_S + 31 * DAY_S, 40.0, "late"), strict=True
        )
    )
    assert features["customer_count_30d"] == 31
    assert features["customer_mean_1d"] == 25.0


def test_a_record_older_than_the_history_is_its_own_past() -> None:
    history = History()
    history.add(START_S + 100 * DAY_S, 5.0, "new")
    features = dict(
        zip(FEATURE_NAMES, compute_features(history, NO_RISK, START_S, 7.0, "ancient"), strict=True)
    )
    assert features["customer_mean_30d"] == 7.0
    assert features["amount_to_mean_30d"] == 1.0
    assert features["largest_7d_to_mean_before"] == 1.0


def test_the_largest_amount_of_a_week_is_held_against_the_time_before() -> None:
    history = History()
    place = FEATURE_NAMES.index("largest_7d_to_mean_before")

    def after(day: float, amount: float) -> float:
        return compute_features(history, NO_RISK, START_S + day * DAY_S, amount, f"t{day}")[place]

    assert after(0, 10.0) == 1.0  # nothing before: the mean is its own
    assert after(1, 30.0) == 30.0 / 20.0
    assert after(9, 100.0) == 5.0  # 100 against 10 and 30
    assert after(10, 5.0) == 5.0  # a small one in the same week
    assert after(17, 5.0) == pytest.approx(5.0 / ((10 + 30 + 100 + 5) / 4))

    free = History()
    for day in (0, 8):  # nothing to divide by
        assert compute_features(free, NO_RISK, START_S + day * DAY_S, 0.5 * day, f"t{day}")[place] == 1.0


@pytest.mark.parametrize("packed", [b"", b"\x02", b"\x01" + b"\0" * 19])
def test_another_format_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="customer history"):
        History.from_bytes(packed)


def test_weekend_and_night_are_told_in_utc() -> None:
    names = FEATURE_NAMES.index("is_weekend"), FEATURE_NAMES.index("is_night")

    def told(time_s: float) -> tuple[float, ...]:
        row = compute_features(History(), NO_RISK, time_s, 1.0, "t")
        return tuple(row[name] for name in names)

    assert told(START_S) == (1.0, 1.0)  # Sunday, midnight
    assert told(START_S + 7 * 3600 - 1) == (1.0, 1.0)
    assert told(START_S + 7 * 3600) == (1.0, 0.0)
    assert told(START_S + DAY_S) == (0.0, 1.0)  # Monday
    assert told(START_S + 6 * DAY_S) == (1.0, 1.0)  # Saturday


def test_customers_unseen_for_as_long_as_a_history_reaches_expire() -> None:
    def seen(*times_s: float) -> bytes:
        history = History()
        for time_s in times_s:
            history.add(time_s, 1.0, "t")
        return history.to_bytes()

    packed = {
        "gone": seen(START_S - 10, START_S),
        "almost": seen(START_S - 10, START_S + 1),
        "present": seen(START_S, START_S + KEPT_S - 1, START_S + KEPT_S),
    }
    assert expired_customers(packed.items()) == ["gone"]
    assert expired_customers([]) == []
