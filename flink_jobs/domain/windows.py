"""What each transaction's customer had paid, over windows of event time that end with the transaction."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.history import (
    DAY_S,
    ENTRY,
    ENTRY_BYTES,
    HOUR,
    HOUR_BYTES,
    HOUR_S,
    NO_HISTORY,
    UNITS,
    WINDOW_DAYS,
    exact_from_s,
    fold,
    is_summed,
    summed_bytes,
)

# Plain histories are looked at together, a copy for each transaction; those of many payments no more at a
# time than take so many bytes.
_SHORT_BYTES = 128 * ENTRY_BYTES
MOST_LONG_BYTES = 4 * 1024 * 1024
_WINDOWS_S = DAY_S * np.array(WINDOW_DAYS)
_WEEK = len(WINDOW_DAYS) - 2
_Number = TypeVar("_Number", np.int64, np.float64)


class Windows(NamedTuple):
    """Payments within each window of WINDOW_DAYS, the transaction's own included.

    A transaction that comes later than its customer's history reaches back may find none, not even its own.

    Attributes:
        counts: [transactions, windows].
        totals: [transactions, windows], sums of their amounts.
        largest: [transactions], the largest amount of the second longest window; 0 where it has none.

    """

    counts: NDArray[np.int64]
    totals: NDArray[np.float64]
    largest: NDArray[np.float64]


class FoldedTransactions:
    """Transactions, each folded into its customer's history, and the windows that each then saw.

    Attributes:
        histories: of the customers of these transactions, as they are now.
        exact_from_s: by the number of the transaction, where a window reaches into summed hours: the time
            since 1970 from which on it is exact.

    """

    def __init__(self, stored: Callable[[str], bytes | None]) -> None:
        """Take what gives a customer's history, None for a new customer."""
        self.histories: dict[str, bytes] = {}
        self.exact_from_s: dict[int, float] = {}
        self._stored = stored
        self._times_s: list[float] = []
        self._found: list[Windows] = []
        # plain histories of the latest transactions, NO_HISTORY for a summed one, and how much happened
        self._copied: list[bytes] = []
        self._ends: list[int] = []
        self._long_bytes = 0
        self._summed: dict[int, Windows] = {}

    def pass_by(self, customer_id: str, time_s: float, amount: float, transaction_id: str) -> None:
        """Fold a transaction whose windows nobody asks for."""
        history = self.histories.get(customer_id) or self._stored(customer_id) or NO_HISTORY
        self.histories[customer_id], _ = fold(history, time_s, amount, transaction_id)

    def add(self, customer_id: str, time_s: float, amount: float, transaction_id: str) -> None:
        """Fold a transaction, and keep what its windows see."""
        history = self.histories.get(customer_id) or self._stored(customer_id) or NO_HISTORY
        history, end = fold(history, time_s, amount, transaction_id)
        self.histories[customer_id] = history
        if len(history) > _SHORT_BYTES:
            self._long_bytes += len(history)
            if self._long_bytes > MOST_LONG_BYTES:
                self._look_at_copied()
        if is_summed(history):
            number = len(self._times_s)
            self._summed[number] = _look(history, end, time_s)
            boundary_s = exact_from_s(history)
            if boundary_s > time_s - _WINDOWS_S[-1]:
                self.exact_from_s[number] = boundary_s
            history, end = NO_HISTORY, ENTRY_BYTES
        self._times_s.append(time_s)
        self._copied.append(history)
        self._ends.append(end)

    def times_s(self) -> NDArray[np.float64]:
        """Give the event times of the transactions that were added."""
        return np.array(self._times_s)

    def windows(self) -> Windows:
        """Give the windows of the transactions that were added; there must be one."""
        self._look_at_copied()
        found = Windows(*map(np.concatenate, zip(*self._found, strict=True)))
        for number, (counts, totals, largest) in self._summed.items():
            found.counts[number], found.totals[number], found.largest[number] = counts, totals, largest[0]
        return found

    def _look_at_copied(self) -> None:
        if self._copied:
            times_s = np.array(self._times_s[-len(self._copied) :])
            self._found.append(_windows(self._copied, np.array(self._ends) // ENTRY_BYTES, times_s))
            self._copied, self._ends, self._long_bytes = [], [], 0


def _windows(histories: list[bytes], happened: NDArray[np.int64], times_s: NDArray[np.float64]) -> Windows:
    """Look at plain histories, one for each transaction, all at once.

    Args:
        histories: as `fold` returned them.
        happened: how many entries of each history happened up to its transaction.
        times_s: of the transactions.

    """
    entries = np.frombuffer(b"".join(histories), ENTRY)
    times = np.ascontiguousarray(entries["time_s"])
    # one more, so that the end of the last history is a valid index
    amounts = np.append(entries["amount"], 0.0)
    lengths = np.fromiter(map(len, histories), np.int64, len(histories)) // ENTRY_BYTES
    stops = np.cumsum(lengths)
    starts = stops - lengths
    ends = starts + happened
    counts = np.empty((len(histories), len(WINDOW_DAYS)), dtype=np.int64)
    totals = np.empty(counts.shape)
    largest = np.zeros(len(histories))
    for window, length_s in enumerate(_WINDOWS_S):
        after = times > np.repeat(times_s - length_s, lengths)
        begins = stops - np.add.reduceat(after, starts, dtype=np.int64)
        counts[:, window] = ends - begins
        totals[:, window] = _reduce(np.add, amounts, begins, ends)
        if window == _WEEK:
            largest = np.maximum(_reduce(np.maximum, amounts, begins, ends), 0.0)
    return Windows(np.maximum(counts, 0), totals, largest)


def _reduce(
    operation: np.ufunc, values: NDArray[np.float64], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Reduce spans of values, 0 for an empty one; every end is a valid index."""
    spans = np.column_stack([begins, ends]).ravel()
    return np.where(ends > begins, operation.reduceat(values, spans)[::2], 0.0)


def _look(history: bytes, end: int, time_s: float) -> Windows:
    """Look at one summed history for one transaction."""
    begin_s = time_s - _WINDOWS_S
    at = summed_bytes(history)
    hours = np.frombuffer(history, HOUR, (min(end, at) - ENTRY_BYTES) // HOUR_BYTES, ENTRY_BYTES)
    begins = (hours["hour"] * HOUR_S).searchsorted(begin_s, "right")
    counts = _from_each_on(hours["count"].astype(np.int64), begins)
    totals = _from_each_on(hours["total"] / UNITS, begins)
    largest = hours["largest"][begins[_WEEK] :].max(initial=0.0)
    # the first entry is no transaction
    first = at + ENTRY_BYTES
    if end > first:
        entries = np.frombuffer(history, ENTRY, (end - first) // ENTRY_BYTES, first)
        begins = entries["time_s"].searchsorted(begin_s, "right")
        counts += len(entries) - begins
        totals += _from_each_on(entries["amount"], begins)
        largest = entries["amount"][begins[_WEEK] :].max(initial=largest)
    return Windows(counts, totals, np.array([largest]))


def _from_each_on(values: NDArray[_Number], begins: NDArray[np.int64]) -> NDArray[_Number]:
    """Sum the values from each of `begins` to the end."""
    sums = np.zeros(len(values) + 1, values.dtype)
    values[::-1].cumsum(out=sums[1:])
    found: NDArray[_Number] = sums[len(values) - begins]
    return found
