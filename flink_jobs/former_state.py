"""State of form 1, which lay under the keys of four shards, is moved to the buckets of customers."""

import struct
from collections import defaultdict
from itertools import islice

from flink_jobs.bucketed_state import BucketedState, StateBackend
from flink_jobs.domain.buckets import bucket_of
from flink_jobs.domain.history import ENTRY_BYTES, NO_HISTORY
from flink_jobs.shards import FORMER_SHARD_KEYS, ShardsError, stream_group

# So many customers' histories are in Python while they are moved.
_MOVED_AT_ONCE = 1000
_time_of = struct.Struct("<d").unpack_from


def move_former(backend: StateBackend, state: BucketedState) -> None:
    """Move the histories of former shards in this subtask to the buckets of their customers.

    Raises:
        ShardsError: they belong to other subtasks.

    """
    for key in FORMER_SHARD_KEYS:
        if stream_group(key) not in backend.key_groups:
            continue
        backend.select(key)
        if not state.histories.state.is_empty():
            if len(FORMER_SHARD_KEYS) % backend.subtasks:
                raise _wrong_parallelism(backend.subtasks, "1, 2 or 4", "in four shards")
            _move(key, backend, state)


def _move(key: int, backend: StateBackend, state: BucketedState) -> None:
    histories, added = state.histories, state.added
    former = histories.state.items()
    while True:
        backend.select(key)
        some = list(islice(former, _MOVED_AT_ONCE))
        if not some:
            break
        moved = defaultdict[int, dict[str, bytes]](dict)
        for customer_id, whole in some:
            bucket = bucket_of(customer_id)
            if bucket not in state.buckets:
                # SQL took UTF-8 for ISO-8859-1, so another shard had letters beyond ASCII than their escapes
                raise _wrong_parallelism(backend.subtasks, "1", f"for {customer_id!r} in another shard")
            moved[bucket][customer_id] = whole + (added.state.get(customer_id) or b"")
        for bucket, found in moved.items():
            for customer_id in found:
                if not customer_id.isascii():
                    found[customer_id] = _joined(found[customer_id], histories.get(bucket, customer_id))
            histories.put_all(bucket, found)
    histories.state.clear()
    added.state.clear()


def _joined(one: bytes, other: bytes | None) -> bytes:
    """Join the histories of a customer that two shards had."""
    entries = {
        history[at : at + ENTRY_BYTES]
        for history in (one, other or NO_HISTORY)
        for at in range(ENTRY_BYTES, len(history), ENTRY_BYTES)
    }
    return NO_HISTORY + b"".join(sorted(entries, key=lambda entry: (_time_of(entry), entry)))


def _wrong_parallelism(subtasks: int, better: str, kept: str) -> ShardsError:
    return ShardsError(
        f"a former release kept the state {kept}, and {subtasks} subtasks cannot share it: start the job "
        f"once with a parallelism of {better}, which moves the state, stop it with a savepoint, and go on "
        "from that"
    )
