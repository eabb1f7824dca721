"""Copies of histories never differ from what is stored, and take no more room than they may."""

from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.domain.recent_histories import RecentHistories

CUSTOMERS = st.sampled_from("abcdefgh")


class Store(dict[str, bytes]):
    reads = 0

    def get(self, key: str, /) -> bytes | None:  # type: ignore[override]
        self.reads += 1
        return super().get(key)

    def put(self, key: str, value: bytes, /) -> None:
        self[key] = value


@given(st.lists(st.tuples(CUSTOMERS, st.none() | st.binary(max_size=12)), max_size=60))
def test_what_is_read_is_what_was_stored(steps: list[tuple[str, bytes | None]]) -> None:
    store = Store()
    recent = RecentHistories(store, most_bytes=20)
    for customer, history in steps:
        if history is None:
            # what is removed from the store is forgotten
            store.pop(customer, None)
            recent.forget(customer)
        else:
            recent.put(customer, history)
        for each in "abcdefgh":
            assert recent.get(each) == dict.get(store, each)


def test_what_was_put_last_is_not_read_back() -> None:
    store = Store()
    recent = RecentHistories(store, most_bytes=20)
    for customer in "abc":
        recent.put(customer, b"0123456789")
    assert [recent.get(customer) for customer in "bc"] == [b"0123456789"] * 2
    assert store.reads == 0
    # pushed out, the oldest is still in the store
    assert recent.get("a") == b"0123456789"
    assert store.reads == 1


def test_a_history_too_large_for_a_copy_is_kept_in_the_store() -> None:
    store = Store()
    recent = RecentHistories(store, most_bytes=5)
    recent.put("a", b"0123456789")
    assert recent.get("a") == b"0123456789"
    assert store.reads == 1
