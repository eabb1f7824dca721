"""How often each terminal was defrauded, as of a day: for training rows and for the snapshot that is served.

Labels come some days late, so the windows as of day D cover the days [D - delay - window, D - delay).
A row never uses labels of later days, nor labels that were not given yet when its day began.
"""

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flink_jobs.domain.features import LABEL_DELAY_DAYS, LAST_PAYMENTS, NO_RISK, no_fraud_days
from flink_jobs.domain.history import WINDOW_DAYS
from flink_jobs.domain.terminal_risk import SCHEMA, VALUE_COLUMNS, said_of_table
from training.label_history import Changes


class TerminalLabels:
    """Labelled transactions by terminal and day, ready to be counted over any span of days."""

    def __init__(
        self,
        terminal_ids: Sequence[str],
        days: NDArray[np.int32],
        frauds: NDArray[np.int8],
        changes: Changes | None = None,
        label_delay_days: int = LABEL_DELAY_DAYS,
    ) -> None:
        """Take the labels.

        Args:
            terminal_ids: one a transaction, like all that follow.
            days: since 1970-01-01.
            frauds: 0 or 1, as known when the delay is over.
            changes: labels that became known later, in the order of the days on which they did.
            label_delay_days: how late labels come.

        """
        self._delay_days = label_delay_days
        names, terminals = np.unique(np.asarray(terminal_ids, dtype=object), return_inverse=True)
        self.terminal_ids: list[str] = names.tolist()
        self.last_day = int(days.max())
        self._codes = {name: code for code, name in enumerate(self.terminal_ids)}
        self._first_day = int(days.min())
        self._span = self.last_day - self._first_day + 2
        keys = self._keys(terminals.astype(np.int64), days)
        self._order = np.argsort(keys, kind="stable")
        self._sorted_keys = keys[self._order]
        self._days = days[self._order].astype(np.int64)
        self._frauds = np.array(frauds, dtype=np.int8)
        self._changes = changes
        self._first_known = self._known(self._frauds)

    def as_of(self, terminal_ids: Sequence[str], days: NDArray[np.int32]) -> NDArray[np.float32]:
        """Give what is known on a day: [rows, TERMINAL_FEATURES], NO_RISK for an unknown terminal.

        Bit for bit what `TerminalRisk.as_of` gives for the same terminal and day.
        """
        codes = np.fromiter((self._codes.get(name, -1) for name in terminal_ids), np.int64, len(terminal_ids))
        return self._values_as_known(codes, days)

    def snapshot(self, first_day: int, number_of_days: int | None = None) -> pa.Table:
        """Make the table that jobs look up, for each terminal and each day from `first_day`.

        By default it ends when the delay of every label is over: no later day knows more.
        """
        number_of_days = number_of_days or self._delay_days + 1
        codes = np.repeat(np.arange(len(self.terminal_ids)), number_of_days)
        days = np.tile(
            np.arange(first_day, first_day + number_of_days, dtype=np.int32), len(self.terminal_ids)
        )
        values = self._values_as_known(codes, days)
        columns = {name: values[:, n] for n, name in enumerate(VALUE_COLUMNS)}
        names = np.repeat(np.asarray(self.terminal_ids, dtype=object), number_of_days)
        table = pa.table({"terminal_id": names, "day": days, **columns}, schema=SCHEMA)
        covered = range(first_day, first_day + number_of_days)
        return table.replace_schema_metadata(said_of_table(self._delay_days, covered))

    def _values_as_known(self, codes: NDArray[np.int64], days: NDArray[np.int32]) -> NDArray[np.float32]:
        """Give each row what was known when its day began."""
        if self._changes is None or not len(codes):
            return self._values(codes, days, self._first_known)
        values = np.empty((len(codes), len(NO_RISK)), dtype=np.float32)
        order = np.argsort(days, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(days[order]) != 0, len(order) > 0)) + 1
        groups = np.split(order, ends[:-1])
        known = self._known_each([int(days[group[0]]) for group in groups], self._changes)
        for group, frauds in zip(groups, known, strict=True):
            values[group] = self._values(codes[group], days[group], frauds)
        return values

    def _known_each(self, ascending_days: list[int], changes: Changes) -> Iterator["_Known"]:
        """Give what was known at the beginning of each of these days."""
        frauds, known, done = self._frauds.copy(), self._first_known, 0
        for day in ascending_days:
            end = int(np.searchsorted(changes.known_days, day, side="right"))
            if end > done:
                # of several labels of a transaction, the last stays
                frauds[changes.rows[done:end]] = changes.frauds[done:end]
                known, done = self._known(frauds), end
            yield known

    def _known(self, frauds: NDArray[np.int8]) -> "_Known":
        """Make labels ready to be counted."""
        ordered = frauds[self._order]
        return _Known(np.concatenate(([0], np.cumsum(ordered, dtype=np.int64))), np.flatnonzero(ordered))

    def _values(
        self, codes: NDArray[np.int64], days: NDArray[np.int32], known: "_Known"
    ) -> NDArray[np.float32]:
        end = np.searchsorted(self._sorted_keys, self._keys(codes, days - self._delay_days))
        values = np.empty((len(codes), len(NO_RISK)), dtype=np.float32)
        for n, window in enumerate(WINDOW_DAYS):
            first = np.searchsorted(self._sorted_keys, self._keys(codes, days - self._delay_days - window))
            values[:, 2 * n] = end - first
            values[:, 2 * n + 1] = known.share(first, end)
        # `first` is now the beginning of the longest window
        values[:, -2] = known.share(np.maximum(end - LAST_PAYMENTS, first), end)
        at = known.first_fraud(first)
        fraud_days = np.append(self._days, 0)[at]
        values[:, -1] = np.where(at < end, days - fraud_days, no_fraud_days(self._delay_days))
        return values

    def _keys(self, codes: NDArray[np.int64], days: NDArray[np.int32]) -> NDArray[np.int64]:
        """Terminal and day as one sortable number; a day outside the data becomes the nearest one inside."""
        return codes * self._span + np.clip(days.astype(np.int64) - self._first_day, 0, self._span - 1)


class _Known(NamedTuple):
    """What is known of the transactions, ordered by terminal and day.

    Attributes:
        before: number of frauds before each transaction, and at the end the number of all.
        at: numbers of the frauds, ascending.

    """

    before: NDArray[np.int64]
    at: NDArray[np.int64]

    def share(self, first: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.float64]:
        """Frauds among the transactions from `first` to before `end`; 0 where there are none."""
        share: NDArray[np.float64] = (self.before[end] - self.before[first]) / np.maximum(end - first, 1)
        return share

    def first_fraud(self, first: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the number of the first fraud from `first` on; the number of all where there is none."""
        return np.append(self.at, len(self.before) - 1)[np.searchsorted(self.at, first)]


def to_parquet(table: pa.Table) -> bytes:
    """Pack a snapshot for the bucket."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
