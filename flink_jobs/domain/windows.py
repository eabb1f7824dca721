"""What each transaction's customer had paid, over windows of event time that end with the transaction."""

from collections.abc import Callable
from typing import NamedTuple

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


class Windows(NamedTuple):
    """Payments within each window of WINDOW_DAYS, the transaction's own included.

    A transaction that comes later than its customer's history reaches back may find none, not even its own.

    Attributes:
        counts: [transactions, windows].
        totals: [transactions, windows], sums of their amounts.
        before: [transactions], what the longest window has more in its sum than the second longest.
        largest: [transactions], the largest amount of the second longest window; 0 where it has none.

    """

    counts: NDArray[np.int64]
    totals: NDArray[np.float64]
    before: NDArray[np.float64]
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
        for number, summed in self._summed.items():
            for all_found, one in zip(found, summed, strict=True):
                all_found[number] = one[0]
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
    begins = np.empty((len(WINDOW_DAYS), len(histories)), dtype=np.int64)
    for window, length_s in enumerate(_WINDOWS_S):
        after = times > np.repeat(times_s - length_s, lengths)
        begins[window] = stops - np.add.reduceat(after, starts, dtype=np.int64)
    largest = np.maximum(_reduce(np.maximum, amounts, begins[_WEEK], ends), 0.0)
    return Windows(np.maximum(ends - begins, 0).T, *_sums(amounts, begins, ends), largest)


def _sums(
    amounts: NDArray[np.float64], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum the amounts of windows, and of what the longest has before the second longest.

    Each sum is of its own span of amounts, so whatever else a history has changes no bit of it; a difference
    of two sums would be a little more than 0 where all that lies between is 0.

    Args:
        amounts: of payments in order.
        begins: [windows, spans], where the windows of each begin.
        ends: [spans], where all of them end, valid indices.

    Returns:
        [spans, windows] and [spans].

    """
    sums = [_reduce(np.add, amounts, begin, ends) for begin in begins[:-1]]
    before = _reduce(np.add, amounts, begins[-1], np.minimum(begins[_WEEK], ends))
    return np.column_stack([*sums, sums[_WEEK] + before]), before


def _reduce(
    operation: np.ufunc, values: NDArray[np.float64], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Reduce spans of values, 0 for an empty one; every end is a valid index."""
    spans = np.column_stack([begins, ends]).ravel()
    return np.where(ends > begins, operation.reduceat(values, spans)[::2], 0.0)


def _look(history: bytes, end: int, time_s: float) -> Windows:
    """Look at one summed history for one transaction: at its hours, and at the entries after them."""
    begin_s = time_s - _WINDOWS_S
    at = summed_bytes(history)
    hours = np.frombuffer(history, HOUR, (min(end, at) - ENTRY_BYTES) // HOUR_BYTES, ENTRY_BYTES)
    begins = (hours["hour"] * HOUR_S).searchsorted(begin_s, "right")
    from_end = np.append(hours["count"], 0)[::-1].cumsum(dtype=np.int64)
    counts = from_end[len(hours) - begins]
    totals, before = _sums_to_end(hours["total"] / UNITS, begins)
    largest = hours["largest"][begins[_WEEK] :].max(initial=0.0)
    # the first entry is no transaction
    first = at + ENTRY_BYTES
    if end > first:
        entries = np.frombuffer(history, ENTRY, (end - first) // ENTRY_BYTES, first)
        begins = entries["time_s"].searchsorted(begin_s, "right")
        counts += len(entries) - begins
        more, more_before = _sums_to_end(entries["amount"], begins)
        totals, before = totals + more, before + more_before
        largest = entries["amount"][begins[_WEEK] :].max(initial=largest)
    return Windows(counts[None], totals[None], np.array([before]), np.array([largest]))


def _sums_to_end(
    amounts: NDArray[np.float64], begins: NDArray[np.int64]
) -> tuple[NDArray[np.float64], float]:
    """Do what `_sums` does, for one history's windows, which end with it: [windows] and a number.

    One transaction at a time, `_sums` takes twice as long.
    """
    end = len(amounts)
    spans = np.full(2 * len(begins), end)
    spans[::2] = begins
    spans[-1] = begins[_WEEK]
    padded = np.zeros(end + 1)
    padded[:end] = amounts
    sums = np.add.reduceat(padded, spans)[::2]
    sums[begins == spans[1::2]] = 0.0
    before = float(sums[-1])
    sums[-1] += sums[_WEEK]
    return sums, before
