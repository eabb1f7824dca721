"""A history is read as it was put, however the state keeps its parts, and writing it takes few bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from map_state import MapState

from flink_jobs.domain.history import DAY_S, ENTRY_BYTES, KEPT_S, NO_HISTORY, fold
from flink_jobs.domain.stored_histories import MOST_ADDED, StoredHistories

START_S = 1_530_403_200.0
MONTH = 60
CUSTOMERS = st.sampled_from("abcd")


def fold_twice_a_day(stored: StoredHistories, customer: str, count: int, start_s: float = START_S) -> None:
    """Transactions of a customer, twelve hours after one another."""
    for number in range(count):
        history, _ = fold(
            stored.get(customer) or NO_HISTORY, start_s + number * DAY_S / 2, 10.0, f"t{number}"
        )
        stored.put_all({customer: history})


@pytest.mark.parametrize("most_bytes", [0, 20 * ENTRY_BYTES, 1_000_000])
@given(
    steps=st.lists(
        st.tuples(CUSTOMERS, st.none() | st.integers(0, 100).map(lambda days: START_S + days * DAY_S)),
        max_size=150,
    )
)
def test_what_is_read_is_what_was_put(most_bytes: int, steps: list[tuple[str, float | None]]) -> None:
    histories, added = MapState(), MapState()
    stored, plain = StoredHistories(histories, added, most_bytes), dict[str, bytes]()
    for number, (customer, time_s) in enumerate(steps):
        if time_s is None:
            stored.remove(customer)
            plain.pop(customer, None)
        else:
            history, _ = fold(plain.get(customer, NO_HISTORY), time_s, 1.0, f"t{number}")
            stored.put_all({customer: history})
            plain[customer] = history
        # what another instance reads after a restart, without copies
        restored = StoredHistories(histories, added, 0)
        for each in "abcd":
            assert stored.get(each) == restored.get(each) == plain.get(each)
    assert dict(stored.items()) == plain


def test_a_transaction_writes_a_few_entries_of_a_long_history() -> None:
    histories, added = MapState(), MapState()
    stored = StoredHistories(histories, added, 1_000_000)
    fold_twice_a_day(stored, "a", 2 * MONTH)
    before = histories.written_bytes + added.written_bytes
    # from now on, as many entries are dropped as come
    fold_twice_a_day(stored, "a", MONTH, START_S + MONTH * DAY_S)
    length = len(stored.get("a") or b"")
    assert length > KEPT_S / (DAY_S / 2) * ENTRY_BYTES
    written = (histories.written_bytes + added.written_bytes - before) / MONTH
    assert written < length / 5
    assert len(added.kept["a"]) <= MOST_ADDED * ENTRY_BYTES


def test_a_repeat_writes_nothing() -> None:
    histories, added = MapState(), MapState()
    stored = StoredHistories(histories, added, 1_000_000)
    fold_twice_a_day(stored, "a", 5)
    before = histories.written_bytes + added.written_bytes
    stored.put_all({"a": stored.get("a") or b""})
    assert histories.written_bytes + added.written_bytes == before


def test_what_was_put_last_is_not_read_back() -> None:
    histories, added = MapState(), MapState()
    stored = StoredHistories(histories, added, most_bytes=2 * ENTRY_BYTES)
    for customer in "abc":
        stored.put_all({customer: NO_HISTORY})
    assert [stored.get(customer) for customer in "bc"] == [NO_HISTORY] * 2
    assert histories.reads == 0
    # the copies have room for two: the oldest is read from the state
    assert stored.get("a") == NO_HISTORY
    assert histories.reads == 1


def test_a_history_too_large_for_a_copy_is_kept_in_the_state() -> None:
    histories, added = MapState(), MapState()
    stored = StoredHistories(histories, added, most_bytes=5)
    stored.put_all({"a": NO_HISTORY})
    assert stored.get("a") == NO_HISTORY
    assert histories.reads == 1
