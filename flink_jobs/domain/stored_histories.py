"""Histories in Flink's state: most of a history is seldom written; Python has copies of the latest ones."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from flink_jobs.domain.feature_batch import Histories
from flink_jobs.domain.history import ENTRY_BYTES, check_format

# After so many added entries, a history is written as a whole again. More than `history.fold` drops at once:
# after a drop, the stored beginning is no longer valid, and the history is written as a whole anyway.
MOST_ADDED = 24


class Store(Histories, Protocol):
    """A store of histories or of added entries, such as Flink's map state."""

    def remove(self, key: str, /) -> None:
        """Remove the customer's bytes, if there are any."""

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Give every customer's id and bytes."""


class StoredHistories:
    """Histories in two stores: one has each history as it was last written whole, one the entries since.

    So a transaction writes a few entries, not a whole month of them; whole months were most of what the
    state backend wrote, merged and sent to checkpoints. This object keeps copies of the latest histories:
    reading one from the state costs more than a fold.
    """

    def __init__(self, histories: Store, added: Store, most_bytes: int) -> None:
        """Begin without copies; they take up to `most_bytes`."""
        self._histories = histories
        self._added = added
        self._most_bytes = most_bytes
        self._bytes = 0
        # by customer id: the history, and how many of its bytes lie in `_histories`
        self._recent: dict[str, tuple[bytes, int]] = {}

    def get(self, customer_id: str, /) -> bytes | None:
        """Give the customer's history, None for a new one.

        Raises:
            ValueError: another version stored the history.

        """
        found = self._recent.get(customer_id)
        if found is not None:
            return found[0]
        whole = self._histories.get(customer_id)
        if whole is None:
            return None
        history = check_format(whole + (self._added.get(customer_id) or b""))
        self._copy(customer_id, history, len(whole))
        return history

    def put_all(self, histories: Mapping[str, bytes], /) -> None:
        """Store histories: as a whole if more changed than a few entries at the end, else these entries."""
        whole: dict[str, bytes] = {}
        added: dict[str, bytes] = {}
        for customer_id, history in histories.items():
            before, written = self._recent.pop(customer_id, (b"", 0))
            self._bytes -= len(before)
            longer = history.startswith(before)
            if (
                written
                and len(history) - written <= MOST_ADDED * ENTRY_BYTES
                and (longer or history.startswith(before[:written]))
            ):
                if not longer or len(history) > len(before):
                    added[customer_id] = history[written:]
            else:
                whole[customer_id] = history
                if not written:
                    # there may be added entries: without a copy, this is unknown
                    self._added.remove(customer_id)
                elif written < len(before):
                    added[customer_id] = b""
                written = len(history)
            self._copy(customer_id, history, written)
        # one call for all: a call into Java costs more than the writing
        if whole:
            self._histories.put_all(whole)
        if added:
            self._added.put_all(added)

    def remove(self, customer_id: str) -> None:
        """Forget the customer."""
        self._drop(customer_id)
        self._histories.remove(customer_id)
        self._added.remove(customer_id)

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Give every customer's id and history."""
        for customer_id, whole in self._histories.items():
            yield customer_id, whole + (self._added.get(customer_id) or b"")

    def _copy(self, customer_id: str, history: bytes, written: int) -> None:
        self._recent[customer_id] = history, written
        self._bytes += len(history)
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._recent)))

    def _drop(self, customer_id: str) -> None:
        self._bytes -= len(self._recent.pop(customer_id, (b"", 0))[0])
