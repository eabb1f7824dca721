"""A history of many payments stays small: hours before a boundary are sums, whatever the order of arrival."""

import random
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.domain import history as histories
from flink_jobs.domain import windows
from flink_jobs.domain.history import (
    DAY_S,
    ENTRY_BYTES,
    HOUR_BYTES,
    HOUR_S,
    KEPT_S,
    NO_HISTORY,
    WINDOW_DAYS,
    check_format,
    exact_from_s,
    fold,
    last_seen_s,
    summed_bytes,
)
from flink_jobs.domain.windows import FoldedTransactions, Windows

START_S = 1_530_403_200.0  # 2018-07-01T00:00:00Z
MOST_ENTRIES = 5


class Payment(NamedTuple):
    time_s: float
    amount: float
    transaction_id: str


def payments(days: int) -> st.SearchStrategy[list[Payment]]:
    """Payments of some days, many at the same few instants of the same hours, each with an id of its own."""
    instants = st.integers(0, days * 48).map(lambda n: START_S + n * 1800.0) | st.floats(
        START_S, START_S + days * DAY_S
    )
    amounts = st.integers(0, 50_000).map(lambda cents: cents / 100) | st.floats(0, 1e12)
    return st.lists(st.tuples(instants, amounts), max_size=80).map(
        lambda pairs: [Payment(*pair, f"t{number}") for number, pair in enumerate(pairs)]
    )


@pytest.fixture(autouse=True, scope="module")
def few_entries() -> Iterator[None]:
    """Sum histories early."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(histories, "MOST_ENTRIES", MOST_ENTRIES)
        yield


def folded(*arriving: Payment) -> bytes:
    history = NO_HISTORY
    for payment in arriving:
        history, _ = fold(history, *payment)
    return check_format(history)


def seen(history: bytes, payment: Payment) -> tuple[list[int], list[float], float]:
    """Counts, totals and largest amount that a payment's windows see, and from when on they are exact."""
    transactions = FoldedTransactions({"c": history}.get)
    transactions.add("c", *payment)
    found = transactions.windows()
    return found.counts[0].tolist(), found.totals[0].tolist(), float(found.largest[0])


def entries(history: bytes) -> int:
    return (len(history) - summed_bytes(history)) // ENTRY_BYTES - 1


@given(payments(7), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_change_a_byte(arriving: list[Payment], order: random.Random) -> None:
    mixed = list(arriving)
    order.shuffle(mixed)
    assert folded(*mixed) == folded(*sorted(arriving))


@given(payments(7))
def test_the_boundary_is_the_earliest_that_leaves_few_enough_entries(arriving: list[Payment]) -> None:
    history = folded(*arriving)
    boundary_s = exact_from_s(history)
    after = [each for each in arriving if each.time_s >= boundary_s]
    assert len(after) == entries(history) <= MOST_ENTRIES
    if summed_bytes(history):
        assert boundary_s % HOUR_S == 0
        assert sum(each.time_s >= boundary_s - HOUR_S for each in arriving) > MOST_ENTRIES
    else:
        assert len(arriving) <= MOST_ENTRIES


@given(payments(45))
def test_windows_take_a_summed_payment_as_if_made_at_the_beginning_of_its_hour(
    arriving: list[Payment],
) -> None:
    arriving = sorted(arriving)
    history, past = NO_HISTORY, list[Payment]()
    for payment in arriving:
        counts, totals, largest = seen(history, payment)
        history, past = fold(history, *payment)[0], [*past, payment]
        boundary_s = exact_from_s(history)
        for days, count, total in zip(WINDOW_DAYS, counts, totals, strict=True):
            since_s = payment.time_s - days * DAY_S
            within = [
                each.amount
                for each in past
                if (each.time_s if each.time_s >= boundary_s else each.time_s // HOUR_S * HOUR_S) > since_s
            ]
            assert count == len(within)
            # each is rounded to a ten thousandth
            assert total == pytest.approx(sum(within), rel=1e-12, abs=1e-4 * len(within))
            if days == WINDOW_DAYS[-2]:
                assert largest == max(within)


def test_a_late_payment_sees_its_hour_whole_and_nothing_after() -> None:
    history = folded(*(Payment(START_S + n * 1200, 10.0, f"t{n}") for n in range(30)))
    assert exact_from_s(history) == START_S + 9 * HOUR_S
    late = Payment(START_S + 4 * HOUR_S + 1, 50.0, "late")
    counts, totals, largest = seen(history, late)
    # three an hour in five hours, and itself
    assert (counts, totals, largest) == ([16] * 3, [200.0] * 3, 50.0)
    assert summed_bytes(fold(history, *late)[0]) == summed_bytes(history)
    # into an hour that had none
    early = Payment(START_S - 3 * HOUR_S, 7.0, "early")
    assert seen(history, early) == ([1] * 3, [7.0] * 3, 7.0)
    assert summed_bytes(fold(history, *early)[0]) == summed_bytes(history) + HOUR_BYTES


def test_a_repeat_is_known_where_payments_are_kept_and_not_where_they_are_summed() -> None:
    made = [Payment(START_S + n * 1200, 10.0, f"t{n}") for n in range(30)]
    history = folded(*made)
    assert fold(history, *made[-1])[0] == history
    again, _ = fold(history, *made[0])
    assert again != history
    assert seen(again, made[0])[0] == [5] * 3  # of three in this hour, one came three times


def test_one_hour_of_many_payments_is_a_sum_while_it_lasts() -> None:
    history = folded(*(Payment(START_S + n, 1.0, f"t{n}") for n in range(1000)))
    assert exact_from_s(history) == last_seen_s(history) == START_S + HOUR_S
    assert len(history) == 2 * ENTRY_BYTES + HOUR_BYTES
    assert seen(history, Payment(START_S + 1000, 2.0, "next")) == ([1001] * 3, [1002.0] * 3, 2.0)


def test_hours_are_dropped_when_they_expire_and_the_history_is_plain_again() -> None:
    history = folded(*(Payment(START_S + n * 1200, 10.0, f"t{n}") for n in range(150)))
    assert summed_bytes(history) > 40 * HOUR_BYTES
    later, _ = fold(history, START_S + KEPT_S + 20 * HOUR_S, 1.0, "later")
    assert summed_bytes(later) == summed_bytes(history)  # what lies past the horizon goes with the next one
    dropping = Payment(START_S + KEPT_S + 20 * HOUR_S, 1.0, "next")
    assert seen(later, dropping) == ([2] * 3, [2.0] * 3, 1.0)
    later, _ = fold(later, *dropping)
    assert summed_bytes(later) == summed_bytes(history) - 20 * HOUR_BYTES
    much_later = START_S + 2 * KEPT_S + 10 * DAY_S
    for number in range(20):
        later, _ = fold(later, much_later + number * DAY_S / 4, 1.0, f"n{number}")
    assert len(check_format(later)) <= (1 + 2 * MOST_ENTRIES) * ENTRY_BYTES + 25 * HOUR_BYTES
    assert seen(later, Payment(much_later + 5 * DAY_S, 1.0, "n"))[0][-1] == 21


def test_a_history_stays_bounded_however_long_its_customer_pays() -> None:
    kept_hours = KEPT_S / HOUR_S
    for pause_s in (HOUR_S / 2, HOUR_S, 1.5 * HOUR_S):
        history = folded(*(Payment(START_S + n * pause_s, 1.0, f"t{n}") for n in range(5000)))
        assert kept_hours * 0.6 < summed_bytes(history) / HOUR_BYTES < kept_hours + 20
        assert entries(history) <= MOST_ENTRIES


def test_a_payment_older_than_the_hours_reach_is_compared_with_itself() -> None:
    history = folded(*(Payment(START_S + KEPT_S + n * 1200, 10.0, f"t{n}") for n in range(150)))
    old = Payment(START_S, 3.0, "old")
    assert fold(history, *old)[0] == history
    assert seen(history, old) == ([0] * 3, [0.0] * 3, 0.0)


@given(payments(45), st.integers(1, 30))
def test_histories_that_are_looked_at_in_parts_are_seen_as_together(
    arriving: list[Payment], most_copied: int
) -> None:
    def found(most_copied_bytes: int) -> Windows:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(windows, "_SHORT_BYTES", 0)
            patch.setattr(windows, "MOST_LONG_BYTES", most_copied_bytes)
            transactions = FoldedTransactions({}.get)
            for payment in arriving:
                transactions.add(payment.transaction_id[:2], *payment)
            return transactions.windows()

    if arriving:
        for one, other in zip(found(most_copied * ENTRY_BYTES), found(10**6), strict=True):
            assert one.tobytes() == other.tobytes()


def test_windows_without_summed_hours_are_the_same_to_the_bit_whatever_lay_before() -> None:
    """A history that was made anew has what lay there no more, and is not summed."""

    def looked_at(history: bytes) -> Windows:
        transactions = FoldedTransactions({"c": history}.get)
        transactions.add("c", *last)
        assert transactions.exact_from_s == {}
        return transactions.windows()

    for seed in range(20):
        amounts = random.Random(seed)  # noqa: S311 - the same amounts each time
        arriving = [
            Payment(START_S + day * DAY_S, amounts.randrange(50_000) / 100, f"t{day}")
            for day in (0, 0.01, 16, 27, 36, 36.25)
        ]
        last = Payment(START_S + 42 * DAY_S, 12.34, "last")
        never_lost, anew = folded(*arriving), folded(*arriving[2:])
        assert summed_bytes(never_lost)
        assert not summed_bytes(anew)
        for one, other in zip(looked_at(never_lost), looked_at(anew), strict=True):
            assert one.tobytes() == other.tobytes(), seed


def test_an_alert_is_told_from_when_on_its_windows_are_exact() -> None:
    def told(payment: Payment) -> dict[int, float]:
        transactions = FoldedTransactions({"c": history}.get)
        transactions.add("c", *payment)
        return transactions.exact_from_s

    history = folded(*(Payment(START_S + n * 1200, 10.0, f"t{n}") for n in range(30)))
    boundary_s = exact_from_s(history)
    assert told(Payment(START_S + DAY_S, 1.0, "n")) == {
        0: exact_from_s(fold(history, START_S + DAY_S, 1.0, "n")[0])
    }
    assert told(Payment(boundary_s + 31 * DAY_S, 1.0, "n")) == {}
    history = folded(Payment(START_S, 1.0, "only"))
    assert told(Payment(START_S + DAY_S, 1.0, "n")) == {}


def test_sums_stop_at_what_their_bytes_can_hold() -> None:
    history = folded(*(Payment(START_S + n, 1e12, f"t{n}") for n in range(3000)))
    counts, totals, largest = seen(history, Payment(START_S, 1e12, "n"))
    assert (counts, totals, largest) == ([3001] * 3, [(2**64 - 1) / histories.UNITS] * 3, 1e12)


def test_a_former_history_of_any_length_is_summed_as_one_that_was_folded() -> None:
    made = [Payment(START_S + n, 1e12, f"t{n}") for n in range(3000)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(histories, "MOST_ENTRIES", 10_000)
        former = folded(*made)
    assert summed_bytes(former) == 0
    last = Payment(START_S + HOUR_S, 1.0, "last")
    assert fold(former, *last)[0] == folded(*made, last)


def test_the_boundary_is_taken_for_no_payment() -> None:
    history = folded(*(Payment(START_S + n * 1200, 10.0, f"t{n}") for n in range(30)))
    # its bytes are those of the boundary: nothing was paid, and the checksum of the id is 3
    alike = Payment(exact_from_s(history), 0.0, "2XaahBK")
    assert entries(fold(history, *alike)[0]) == entries(history) + 1


def test_what_savepoints_hold_of_a_summed_history_is_still_read() -> None:
    """Another layout of these bytes takes another number in front, and reads this one as well."""
    saved = bytes.fromhex(
        "000000000000f0ff020000000000000003000000"  # two hours follow
        "987c0600030000000a870500000000006666666666262840"
        "997c0600030000000a870500000000006666666666262840"
        "000000680dced641000000000000000003000000"  # the boundary
        "000000680dced6416666666666262840943b30c5"
        "000000940eced6416666666666262840020b37b2"
        "000000c00fced641666666666626284093168822"
    )
    assert folded(*(Payment(START_S + n * 1200, 12.075, f"t{n}") for n in range(9))) == saved
    for cut in (1, HOUR_BYTES, 3 * ENTRY_BYTES + 1):
        with pytest.raises(ValueError, match="customer history"):
            check_format(saved[:-cut])
