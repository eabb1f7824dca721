"""A history is read as it was put, however the state keeps its parts, and writing it takes few bytes."""

import ctypes
import tracemalloc
from collections.abc import Iterator, Mapping

import pytest
from buckets_in_memory import BucketsInMemory, HistoriesInMemory
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.domain import history as histories_module
from flink_jobs.domain.buckets import BUCKETS, bucket_of
from flink_jobs.domain.history import DAY_S, ENTRY_BYTES, KEPT_S, NO_HISTORY, fold
from flink_jobs.domain.stored_histories import (
    COPY_BYTES,
    LOOKED_AT_A_SECOND,
    LOOKED_AT_ONCE,
    MOST_ADDED,
    TOLD_BY,
    StoredHistories,
)
from flink_jobs.domain.transaction import InvalidTransaction

START_S = 1_530_403_200.0
NOW_S = 1_800_000_000.0
MONTH = 60
CUSTOMERS = st.sampled_from("abcd")


def fold_twice_a_day(stored: StoredHistories, customer: str, count: int, start_s: float = START_S) -> None:
    """Transactions of a customer, twelve hours after one another."""
    for number in range(count):
        history, _ = fold(
            stored.get(customer) or NO_HISTORY, start_s + number * DAY_S / 2, 10.0, f"t{number}"
        )
        stored.put_all({customer: history})


@pytest.mark.parametrize("most_bytes", [0, 3 * COPY_BYTES, 1_000_000])
@pytest.mark.parametrize("most_entries", [8, 1024])
@given(
    steps=st.lists(
        st.tuples(CUSTOMERS, st.integers(0, 100).map(lambda days: START_S + days * DAY_S)),
        max_size=150,
    )
)
def test_what_is_read_is_what_was_put(
    most_bytes: int, most_entries: int, steps: list[tuple[str, float]]
) -> None:
    stored = HistoriesInMemory(most_bytes)
    plain = dict[str, bytes]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(histories_module, "MOST_ENTRIES", most_entries)
        for number, (customer, time_s) in enumerate(steps):
            history, _ = fold(plain.get(customer, NO_HISTORY), time_s, 1.0, f"t{number}")
            stored.put_all({customer: history})
            plain[customer] = history
            # what another instance reads after a restart, without copies
            restored = StoredHistories(stored.written, stored.added, range(BUCKETS), 0)
            for each in "abcd":
                assert stored.get(each) == restored.get(each) == plain.get(each)
    assert stored.by_customer() == plain


def test_a_transaction_writes_a_few_entries_of_a_long_history() -> None:
    histories, added = BucketsInMemory(), BucketsInMemory()
    stored = StoredHistories(histories, added, range(BUCKETS), 1_000_000)
    fold_twice_a_day(stored, "a", 2 * MONTH)
    before = histories.written_bytes + added.written_bytes
    # from now on, as many entries are dropped as come
    fold_twice_a_day(stored, "a", MONTH, START_S + MONTH * DAY_S)
    length = len(stored.get("a") or b"")
    assert length > KEPT_S / (DAY_S / 2) * ENTRY_BYTES
    written = (histories.written_bytes + added.written_bytes - before) / MONTH
    assert written < length / 5
    assert len(added.customers()["a"]) <= MOST_ADDED * ENTRY_BYTES


def test_a_repeat_writes_nothing() -> None:
    histories, added = BucketsInMemory(), BucketsInMemory()
    stored = StoredHistories(histories, added, range(BUCKETS), 1_000_000)
    fold_twice_a_day(stored, "a", 5)
    before = histories.written_bytes + added.written_bytes
    stored.put_all({"a": stored.get("a") or b""})
    assert histories.written_bytes + added.written_bytes == before


def test_what_was_put_last_is_not_read_back() -> None:
    histories, added = BucketsInMemory(), BucketsInMemory()
    stored = StoredHistories(histories, added, range(BUCKETS), most_bytes=2 * (COPY_BYTES + ENTRY_BYTES + 1))
    for customer in "abc":
        stored.put_all({customer: NO_HISTORY})
    assert [stored.get(customer) for customer in "bc"] == [NO_HISTORY] * 2
    assert histories.reads == 0
    # the copies have room for two: the oldest is read from the state
    assert stored.get("a") == NO_HISTORY
    assert histories.reads == 1


def test_a_history_too_large_for_a_copy_is_kept_in_the_state() -> None:
    histories, added = BucketsInMemory(), BucketsInMemory()
    stored = StoredHistories(histories, added, range(BUCKETS), most_bytes=5)
    stored.put_all({"a": NO_HISTORY})
    assert stored.get("a") == NO_HISTORY
    assert histories.reads == 1


class Nothing(BucketsInMemory):
    """Buckets that keep nothing, so that only the copies take memory."""

    def put_all(self, bucket: int, entries: Mapping[str, bytes], /) -> None:
        pass


@pytest.mark.parametrize("entries", [1, 5, 60])
@pytest.mark.parametrize(
    ("customer_id", "id_bytes"), [("4{:015}", 16), ("\U0001f600{:063}", 512)], ids=["ASCII", "wide"]
)
def test_copies_count_what_they_take_in_memory(entries: int, customer_id: str, id_bytes: int) -> None:
    copies = 2_000
    stored = StoredHistories(Nothing(), Nothing(), range(BUCKETS), copies * (COPY_BYTES + id_bytes))
    for number in range(copies):
        stored.put_all({f"{number}": NO_HISTORY})
    stored.put_all({"all others give way": bytes(copies * COPY_BYTES)})
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(3 * copies):
            named = customer_id.format(number)
            # a text that Java has read keeps its UTF-8
            ctypes.pythonapi.PyUnicode_AsUTF8(ctypes.py_object(named))
            stored.put_all({named: NO_HISTORY + bytes(entries * ENTRY_BYTES)})
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    most = copies * (COPY_BYTES + id_bytes)
    assert 0.6 * most < taken < most, f"{taken} taken, {most} allowed"


def test_a_customer_of_another_subtask_is_refused() -> None:
    own = [bucket for bucket in range(BUCKETS) if bucket != bucket_of("a")]
    stored = StoredHistories(BucketsInMemory(), BucketsInMemory(), own, 0)
    with pytest.raises(InvalidTransaction, match="misread_customer_id"):
        stored.get("a")


class House:
    """A day's traffic of many customers, with house-keeping after each batch."""

    def __init__(self, most_bytes: int = 1_000_000, histories: BucketsInMemory | None = None) -> None:
        self.histories, self.added = histories or BucketsInMemory(), BucketsInMemory()
        self.stored = StoredHistories(self.histories, self.added, range(BUCKETS), most_bytes)
        self.now_s = NOW_S
        self.looked_at: list[int] = []

    def batch(self, *seen: tuple[str, float]) -> None:
        for customer, time_s in seen:
            history, _ = fold(self.stored.get(customer) or NO_HISTORY, time_s, 1.0, "t")
            self.stored.put_all({customer: history})
        self.looked_at.append(self.stored.house_keep(self.now_s))

    def wait(self, seconds: int, customer: str, time_s: float) -> None:
        """Let seconds pass, each with a payment."""
        for _ in range(seconds):
            self.now_s += 1
            self.batch((customer, time_s))

    def customers(self) -> set[str]:
        assert self.histories.customers().keys() >= self.added.customers().keys()
        return set(self.histories.customers())


@pytest.mark.parametrize("most_bytes", [COPY_BYTES * 2, 1_000_000])
def test_customers_unseen_for_as_long_as_a_history_reaches_are_forgotten(most_bytes: int) -> None:
    house = House(most_bytes)
    house.batch(*((f"gone{n}", START_S) for n in range(100)))
    house.batch(("almost", START_S + 1), ("late", START_S))
    # added to what was written before
    house.batch(("gone0", START_S + 10), ("late", START_S + DAY_S))
    assert house.added.customers().keys() == {"gone0", "late"}
    house.wait(2 * TOLD_BY, "present", START_S + KEPT_S)
    assert house.customers() == {"gone0", "almost", "late", "present"}
    house.wait(2 * TOLD_BY, "present", START_S + KEPT_S + 10)
    assert house.customers() == {"late", "present"}
    assert "gone0" not in house.added.customers()


class Prefetched(BucketsInMemory):
    """Its iterators give what they loaded long ago, as those of Java may."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: dict[int, dict[str, bytes]] = {}

    def load(self) -> None:
        self.loaded = {bucket: dict(kept) for bucket, kept in self.kept.items()}

    def items(self, bucket: int, /) -> Iterator[tuple[str, bytes]]:
        return iter(self.loaded.get(bucket, {}).items())


def test_a_customer_who_came_back_since_an_entry_was_loaded_is_kept() -> None:
    """Its history was written whole again, so nothing of it lies among the added entries."""
    histories = Prefetched()
    house = House(0, histories)
    house.batch(("gone", START_S), ("back", START_S), ("gone before", START_S))
    histories.load()
    house.batch(("back", START_S + KEPT_S + 10))
    histories.remove(bucket_of("gone before"), "gone before")
    assert not house.added.customers()
    history = house.stored.get("back")
    house.wait(2 * TOLD_BY, "present", START_S + KEPT_S + 5)
    assert house.customers() == {"back", "present"}
    assert house.stored.get("back") == history


def test_one_record_of_today_among_a_replay_of_last_year_erases_its_own_customers_past_only() -> None:
    house = House()
    house.batch(*((f"c{n}", START_S) for n in range(100)))
    house.batch(*(("today", START_S + n) for n in range(20)))
    house.batch(("today", START_S + 365 * DAY_S))
    house.wait(2 * TOLD_BY, "c0", START_S + DAY_S)
    assert len(house.customers()) == 101
    assert house.stored.get("today") == fold(NO_HISTORY, START_S + 365 * DAY_S, 1.0, "t")[0]


def test_house_keeping_looks_at_few_customers_after_a_batch_and_keeps_pace_with_new_ones() -> None:
    house = House()
    house.wait(TOLD_BY, "a", START_S)
    house.batch(*((f"old{n}", START_S) for n in range(3000)))
    assert max(house.looked_at) <= LOOKED_AT_ONCE
    house.looked_at.clear()
    # each batch brings new customers, whose time is a year later; no clock passes
    for number in range(300):
        house.batch(*((f"new{number}-{n}", START_S + 365 * DAY_S) for n in range(LOOKED_AT_ONCE // 2)))
    # a pass over all customers may end before
    assert max(house.looked_at) == LOOKED_AT_ONCE
    assert sum(house.looked_at) > 0.9 * LOOKED_AT_ONCE * len(house.looked_at)
    house.batch(*(("new0-0", START_S + 365 * DAY_S) for _ in range(TOLD_BY)))
    for _ in range(300):
        house.batch(("new0-0", START_S + 365 * DAY_S))
    assert not any(customer.startswith("old") for customer in house.customers())
    assert len(house.customers()) == 300 * LOOKED_AT_ONCE // 2


def test_house_keeping_of_known_customers_is_paced_by_the_clock() -> None:
    house = House()
    house.wait(2 * TOLD_BY, "a", START_S)
    looked_at = house.looked_at[TOLD_BY:]
    # one customer, and each bucket as one look
    assert sum(looked_at) <= LOOKED_AT_A_SECOND * len(looked_at)
    assert max(looked_at) == LOOKED_AT_ONCE
    for _ in range(50):
        house.batch(("a", START_S))
    assert sum(house.looked_at[-50:]) <= LOOKED_AT_ONCE


def test_a_clock_that_goes_back_stops_nothing() -> None:
    house = House()
    house.wait(TOLD_BY, "a", START_S)
    house.now_s -= 3600
    house.wait(10, "a", START_S)
    assert sum(house.looked_at[-10:]) > 0
