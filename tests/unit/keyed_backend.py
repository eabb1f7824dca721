"""A stand-in for Flink's state backend of a subtask: states of a current key."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from flink_jobs.shards import stream_group


class KeyedBackend:
    """Map states by key; counts how often the key is switched.

    Attributes:
        kept: by key, name of the state, and customer.

    """

    def __init__(self, subtasks: int = 1, subtask: int = 0) -> None:
        self.subtasks = subtasks
        self.key_groups = range(-(-subtask * 128 // subtasks), -(-(subtask + 1) * 128 // subtasks))
        self.kept = defaultdict[int, dict[str, dict[str, bytes]]](lambda: defaultdict(dict))
        # Flink sets the key too, unseen by who selects
        self.key: int | None = None
        self._selected: int | None = None
        self.switches = 0

    def map_state(self, name: str) -> "KeyedMap":
        return KeyedMap(self, name)

    def forget(self) -> None:
        self._selected = None

    def select(self, key: int) -> None:
        assert stream_group(key) in self.key_groups, "Flink refuses the key of another subtask"
        if key != self._selected:
            self.switches += 1
            self.key = self._selected = key

    def customers(self) -> dict[str, bytes]:
        """What `histories` has, whatever the key."""
        return {name: kept for states in self.kept.values() for name, kept in states["histories"].items()}


class KeyedMap:
    """One state, of the current key."""

    def __init__(self, backend: KeyedBackend, name: str) -> None:
        self._backend, self._name = backend, name

    @property
    def current(self) -> dict[str, bytes]:
        assert self._backend.key is not None, "nothing has chosen a key"
        return self._backend.kept[self._backend.key][self._name]

    def get(self, customer_id: str) -> bytes | None:
        return self.current.get(customer_id)

    def put_all(self, entries: Mapping[str, bytes]) -> None:
        self.current.update(entries)

    def remove(self, customer_id: str) -> None:
        self.current.pop(customer_id, None)

    def items(self) -> Iterator[tuple[str, bytes]]:
        # as in PyFlink: what is iterated over is chosen when the first entry is asked for
        yield from list(self.current.items())

    def is_empty(self) -> bool:
        return not self.current

    def clear(self) -> None:
        self.current.clear()
