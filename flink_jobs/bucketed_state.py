"""Flink's keyed state by buckets of customers, whichever shard's batch is being scored.

Flink gives a function the state of the key of the record that it processes, which is a shard's. Here the key
is switched to that of a bucket, so that state belongs to buckets, and the number of shards may change.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pyflink.common import Types
from pyflink.datastream import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from flink_jobs.shards import ShardsError, bucket_keys, can_share, check_shards, key_group

# the note of a bucket that says how many shards the job has that wrote the state
_SHARDS = "shards"


class StateBackend:
    """The Java state backend of a subtask, whose current key can be set.

    Attributes:
        key_groups: those of the subtask.

    """

    def __init__(self, context: RuntimeContext) -> None:
        from pemja import findClass  # type: ignore[import-untyped] # noqa: PLC0415 - there is none but in a TaskManager's process

        self._context = context
        self._backend = context.get_keyed_state_backend()._keyed_state_backend  # noqa: SLF001 - no other way
        self._input = findClass("org.apache.flink.core.memory.DataInputDeserializer")
        self._rows: dict[int, Any] = {}
        self._current: int | None = None
        span = self._backend.getKeyGroupRange()
        self.key_groups = range(span.getStartKeyGroup(), span.getEndKeyGroup() + 1)

    @property
    def subtasks(self) -> int:
        """The parallelism; PyFlink's own way to it is broken (2.3)."""
        count: int = self._context._runtime_context.getTaskInfo().getNumberOfParallelSubtasks()  # noqa: SLF001
        return count

    def map_state(self, name: str) -> Any:  # noqa: ANN401 - pyflink ships no types
        """Give the state of that name, bytes by text; it is always that of the current key."""
        return self._context.get_map_state(
            MapStateDescriptor(name, Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        )

    def forget(self) -> None:
        """Know that Flink may have set another key."""
        self._current = None

    def select(self, key: int) -> None:
        """Make a key the current one; it must lie in one of the subtask's key groups."""
        if key != self._current:
            row = self._rows.get(key)
            if row is None:
                row = self._rows[key] = self._row(key)
            self._backend.setCurrentKey(row)
            self._current = key

    def _row(self, key: int) -> Any:  # noqa: ANN401 - a Java object
        # the serializer makes a Java Integer; Python's bridge makes a Long of each int
        no_nulls = b"\0"
        serialized = no_nulls + key.to_bytes(4, "big")
        return self._backend.getKeySerializer().deserialize(self._input(serialized))


class BucketedMap:
    """One map state of all of a subtask's buckets.

    Attributes:
        state: Flink's, of the current key.

    """

    def __init__(self, backend: StateBackend, name: str, keys: Mapping[int, int]) -> None:
        """Take the state of that name; `keys` has the key of each bucket."""
        self._backend = backend
        self.state = backend.map_state(name)
        self._keys = keys

    def get(self, bucket: int, customer_id: str, /) -> bytes | None:
        """Give the customer's bytes, None where there are none."""
        self._backend.select(self._keys[bucket])
        found: bytes | None = self.state.get(customer_id)
        return found

    def put_all(self, bucket: int, entries: Mapping[str, bytes], /) -> None:
        """Keep the bytes of customers of one bucket."""
        self._backend.select(self._keys[bucket])
        self.state.put_all(entries)

    def remove(self, bucket: int, customer_id: str, /) -> None:
        """Remove the customer's bytes, if there are any."""
        self._backend.select(self._keys[bucket])
        self.state.remove(customer_id)

    def items(self, bucket: int, /) -> Iterator[tuple[str, bytes]]:
        """Give every customer's id and bytes; other buckets may be used, and this one changed, meanwhile.

        The iterator in Java knows its key, and loads 128 entries at a time: what it gives may have changed
        since. Where the last of these was removed meanwhile, the one after it is left out.
        """
        # the first entry is asked for at once, so the key is still this one
        self._backend.select(self._keys[bucket])
        yield from self.state.items()


class BucketedState(NamedTuple):
    """The state of a subtask: histories, the entries added to them since, and the buckets.

    Attributes:
        notes: of each bucket, whether its histories were taken from the lake, and how many shards there are.

    """

    histories: BucketedMap
    added: BucketedMap
    notes: BucketedMap
    buckets: frozenset[int]


def open_state(backend: StateBackend, shards: int) -> BucketedState:
    """Open the state of a subtask.

    Raises:
        ShardsError: the shards do not fit the subtasks, or those of the job that wrote the state do not.

    """
    check_shards(shards, backend.subtasks)
    keys = {
        bucket: key for bucket, key in enumerate(bucket_keys()) if key_group(bucket) in backend.key_groups
    }
    # Flink finds the state by these names
    histories, added, notes = (
        BucketedMap(backend, name, keys) for name in ("histories", "added", "from_lake")
    )
    for bucket in keys:
        _note_shards(notes, bucket, shards, backend.subtasks)
    return BucketedState(histories, added, notes, frozenset(keys))


def _note_shards(notes: BucketedMap, bucket: int, shards: int, subtasks: int) -> None:
    """Check the number of shards that a bucket has noted, and note that of this job.

    What was being gathered is restored with the shards of then. The run that changed these has checked them
    against the parallelism that is wanted; where a TaskManager is lost before the first checkpoint, Flink
    starts fewer subtasks from the same state. Records would come to subtasks without their customers.
    """
    noted = notes.get(bucket, _SHARDS)
    former = shards if noted is None else int(noted)
    if not can_share(former, subtasks):
        raise ShardsError(
            f"the state is of a job with {former} shards, which {subtasks} subtasks cannot share: bring back "
            "the TaskManager that is gone, or start the job from its savepoint with a parallelism that "
            f"divides {former}"
        )
    if noted is None or former != shards:
        notes.put_all(bucket, {_SHARDS: str(shards).encode()})
