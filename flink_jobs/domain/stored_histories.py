"""How histories lie in Flink's state: most of each is written seldom; Python has copies of the latest."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from flink_jobs.domain.feature_batch import Histories
from flink_jobs.domain.history import ENTRY_BYTES, check_format

# So many entries are added to a history before it is written as a whole again. More than `history.fold` drops
# at a time: dropping changes how a history begins, so that it is written as a whole anyway.
MOST_ADDED = 24


class Store(Histories, Protocol):
    """What histories, or parts of them, are kept in; Flink's map state is one."""

    def remove(self, key: str, /) -> None:
        """Keep the customer's no longer; there may be none."""

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Give every customer's id and what is kept of them."""


class StoredHistories:
    """Histories in two stores: each as it once was, and the entries that were added since.

    A transaction then writes a few entries rather than a whole month of them, which was most of what the
    state backend had to write, merge and send to checkpoints. Of histories that were seen last there is a
    copy here, for reading one from the state costs more than a fold.
    """

    def __init__(self, histories: Store, added: Store, most_bytes: int) -> None:
        """Begin without copies; they take up to `most_bytes`."""
        self._histories = histories
        self._added = added
        self._most_bytes = most_bytes
        self._bytes = 0
        # histories, and how many of their bytes lie in `histories`
        self._recent: dict[str, tuple[bytes, int]] = {}

    def get(self, customer_id: str, /) -> bytes | None:
        """Give the customer's history, None for a new one.

        Raises:
            ValueError: what is stored is another version's.

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
        """Keep customers' histories; as a whole where more changed than a few entries at the end."""
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
                    # without a copy, nobody knows whether there are entries
                    self._added.remove(customer_id)
                elif written < len(before):
                    added[customer_id] = b""
                written = len(history)
            self._copy(customer_id, history, written)
        # at once: a call into Java costs more than what is written
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
