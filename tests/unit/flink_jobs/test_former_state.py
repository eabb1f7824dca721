"""State of form 1, under the keys of four shards, is moved to buckets, as a whole, or refused."""

import pytest
from keyed_backend import KeyedBackend

from flink_jobs.bucketed_state import open_state
from flink_jobs.domain.buckets import bucket_of
from flink_jobs.domain.history import NO_HISTORY, fold
from flink_jobs.former_state import move_former
from flink_jobs.shards import FORMER_SHARD_KEYS, ShardsError, key_group, stream_group

START_S = 1_530_403_200.0
# more than are moved at a time
CUSTOMERS = [f"customer-{number}" for number in range(5000)]


def history(*days: int) -> bytes:
    """A payment on each of these days."""
    kept = NO_HISTORY
    for day in days:
        kept, _ = fold(kept, START_S + day * 86_400, 10.0, f"t{day}")
    return kept


def former_shard(customer_id: str) -> int:
    """As SQL chose it, which took UTF-8 for ISO-8859-1."""
    hashed = 0
    for byte in customer_id.encode():
        hashed = (31 * hashed + byte + 2**31) % 2**32 - 2**31
    return abs(hashed) % 4


def kept_by_a_former_release(backend: KeyedBackend, customers: list[str]) -> None:
    """Two payments of each customer: one in its written history, and one added to that."""
    whole = history(1, 2)
    for customer_id in customers:
        key = FORMER_SHARD_KEYS[former_shard(customer_id)]
        if stream_group(key) in backend.key_groups:
            states = backend.kept[key]
            states["histories"][customer_id] = whole[:40]
            states["added"][customer_id] = whole[40:]


@pytest.mark.parametrize("subtasks", [1, 2, 4])
def test_all_histories_are_moved(subtasks: int) -> None:
    found: dict[str, bytes] = {}
    for subtask in range(subtasks):
        backend = KeyedBackend(subtasks, subtask)
        kept_by_a_former_release(backend, CUSTOMERS)
        state = open_state(backend, shards=4)  # type: ignore[arg-type]
        for _ in range(2):
            # the second time there is nothing to move
            move_former(backend, state)  # type: ignore[arg-type]
            own = {name: kept for bucket in state.buckets for name, kept in state.histories.items(bucket)}
            assert own == backend.customers()
            assert not any(states["added"] for states in backend.kept.values())
        assert not found.keys() & own.keys()
        found |= own
    assert found == dict.fromkeys(CUSTOMERS, history(1, 2))


def test_one_subtask_joins_histories_of_an_id_that_was_written_in_two_ways() -> None:
    backend = KeyedBackend()
    kept_by_a_former_release(backend, ["Zoë"])
    escaped = (former_shard("Zoë") + 1) % 4
    backend.kept[FORMER_SHARD_KEYS[escaped]]["histories"]["Zoë"] = history(0, 2, 3)
    move_former(backend, open_state(backend, shards=4))  # type: ignore[arg-type]
    assert backend.customers() == {"Zoë": history(0, 1, 2, 3)}


def test_an_id_in_a_shard_of_another_subtask_is_refused() -> None:
    # SQL saw other characters, so another shard
    customer_id = next(
        name
        for name in (f"Zoë{number}" for number in range(100))
        if former_shard(name) // 2 != key_group(bucket_of(name)) // 64
    )
    subtask = former_shard(customer_id) // 2
    backend = KeyedBackend(2, subtask)
    kept_by_a_former_release(backend, [customer_id])
    with pytest.raises(ShardsError, match="start the job once with a parallelism of 1, which moves"):
        move_former(backend, open_state(backend, shards=4))  # type: ignore[arg-type]


@pytest.mark.parametrize("subtasks", [3, 8])
def test_subtasks_that_share_a_former_shard_are_refused(subtasks: int) -> None:
    for subtask in range(subtasks):
        backend = KeyedBackend(subtasks, subtask)
        state = open_state(backend, shards=subtasks)  # type: ignore[arg-type]
        # there may be none
        move_former(backend, state)  # type: ignore[arg-type]
        kept_by_a_former_release(backend, CUSTOMERS)
        if backend.customers():
            with pytest.raises(ShardsError, match="start the job once with a parallelism of 1, 2 or 4"):
                move_former(backend, state)  # type: ignore[arg-type]
            break
    else:
        pytest.fail("no subtask has a former shard")
