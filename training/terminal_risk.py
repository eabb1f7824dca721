"""How often each terminal was defrauded, as of a day: for training rows and for the snapshot that is served.

Labels come RISK_DELAY_DAYS late, so the windows as of day D cover the days [D - delay - window, D - delay).
No label of a later day can reach a row.
"""

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flink_jobs.domain.features import LAST_PAYMENTS, NO_FRAUD_DAYS, NO_RISK, RISK_DELAY_DAYS
from flink_jobs.domain.history import WINDOW_DAYS
from flink_jobs.domain.terminal_risk import SCHEMA, VALUE_COLUMNS

# As of the day after the last label, and on until every label's delay is over: no later day knows more.
SNAPSHOT_DAYS = RISK_DELAY_DAYS + 1


class TerminalLabels:
    """Labelled transactions by terminal and day, ready to be counted over any span of days."""

    def __init__(
        self, terminal_ids: Sequence[str], days: NDArray[np.int32], frauds: NDArray[np.int8]
    ) -> None:
        """Take the terminal, the day (since 1970-01-01) and the label (0 or 1) of each transaction."""
        names, terminals = np.unique(np.asarray(terminal_ids, dtype=object), return_inverse=True)
        self.terminal_ids: list[str] = names.tolist()
        self.last_day = int(days.max())
        self._codes = {name: code for code, name in enumerate(self.terminal_ids)}
        self._first_day = int(days.min())
        self._span = self.last_day - self._first_day + 2
        keys = self._keys(terminals.astype(np.int64), days)
        order = np.argsort(keys, kind="stable")
        self._sorted_keys = keys[order]
        self._frauds_before = np.concatenate(([0], np.cumsum(frauds[order], dtype=np.int64)))
        self._frauds_at = np.flatnonzero(frauds[order])
        self._fraud_days = days[order][self._frauds_at].astype(np.int64)

    def as_of(self, terminal_ids: Sequence[str], days: NDArray[np.int32]) -> NDArray[np.float32]:
        """Give what is known on a day: [rows, TERMINAL_FEATURES], NO_RISK for an unknown terminal.

        Bit for bit what `TerminalRisk.lookup` gives for the same terminal and day.
        """
        codes = np.fromiter((self._codes.get(name, -1) for name in terminal_ids), np.int64, len(terminal_ids))
        return self._values(codes, days)

    def snapshot(self, first_day: int, number_of_days: int = SNAPSHOT_DAYS) -> pa.Table:
        """Make the table that serving looks up, for each terminal and each of the days from `first_day`."""
        codes = np.repeat(np.arange(len(self.terminal_ids)), number_of_days)
        days = np.tile(
            np.arange(first_day, first_day + number_of_days, dtype=np.int32), len(self.terminal_ids)
        )
        values = self._values(codes, days)
        columns = {name: values[:, n] for n, name in enumerate(VALUE_COLUMNS)}
        names = np.repeat(np.asarray(self.terminal_ids, dtype=object), number_of_days)
        return pa.table({"terminal_id": names, "day": days, **columns}, schema=SCHEMA)

    def _values(self, codes: NDArray[np.int64], days: NDArray[np.int32]) -> NDArray[np.float32]:
        end = np.searchsorted(self._sorted_keys, self._keys(codes, days - RISK_DELAY_DAYS))
        values = np.empty((len(codes), len(NO_RISK)), dtype=np.float32)
        for n, window in enumerate(WINDOW_DAYS):
            first = np.searchsorted(self._sorted_keys, self._keys(codes, days - RISK_DELAY_DAYS - window))
            values[:, 2 * n] = end - first
            values[:, 2 * n + 1] = self._share(first, end)
        # first, by now, is where the longest window begins
        values[:, -2] = self._share(np.maximum(end - LAST_PAYMENTS, first), end)
        values[:, -1] = self._fraud_age(first, end, days)
        return values

    def _share(self, first: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.float64]:
        """Frauds among the transactions from `first` to before `end`; 0 where there are none."""
        frauds = self._frauds_before[end] - self._frauds_before[first]
        share: NDArray[np.float64] = frauds / np.maximum(end - first, 1)
        return share

    def _fraud_age(
        self, first: NDArray[np.int64], end: NDArray[np.int64], days: NDArray[np.int32]
    ) -> NDArray[np.int64]:
        """Days since the first of the frauds from `first` to before `end`."""
        number = np.searchsorted(self._frauds_at, first)
        at = np.append(self._frauds_at, len(self._sorted_keys))[number]
        return np.where(at < end, days - np.append(self._fraud_days, 0)[number], NO_FRAUD_DAYS)

    def _keys(self, codes: NDArray[np.int64], days: NDArray[np.int32]) -> NDArray[np.int64]:
        """Terminal and day as one sortable number; days outside the data fall on the terminal's ends."""
        return codes * self._span + np.clip(days.astype(np.int64) - self._first_day, 0, self._span - 1)


def to_parquet(table: pa.Table) -> bytes:
    """Pack a snapshot for the bucket."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
