"""Histories of the customers that were seen last, beside the state that all of them lie in."""

from flink_jobs.domain.feature_batch import Histories


class RecentHistories:
    """A store, and a copy of what was put into it last: reading it back costs more than a fold.

    Whatever else writes to the store has to tell `forget`.
    """

    def __init__(self, store: Histories, most_bytes: int) -> None:
        """Begin with nothing; copies take up to `most_bytes`."""
        self._store = store
        self._most_bytes = most_bytes
        self._bytes = 0
        self._recent: dict[str, bytes] = {}

    def get(self, customer_id: str, /) -> bytes | None:
        """Give the customer's history, None for a new one."""
        history = self._recent.get(customer_id)
        return self._store.get(customer_id) if history is None else history

    def put(self, customer_id: str, history: bytes, /) -> None:
        """Keep the customer's history."""
        self._store.put(customer_id, history)
        self.forget(customer_id)
        self._recent[customer_id] = history
        self._bytes += len(history)
        while self._bytes > self._most_bytes:
            self.forget(next(iter(self._recent)))

    def forget(self, customer_id: str) -> None:
        """Drop the copy, if there is one."""
        self._bytes -= len(self._recent.pop(customer_id, b""))
