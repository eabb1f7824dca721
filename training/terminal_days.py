"""Payments and frauds by terminal and day: what terminal risk is counted from without reading the lake again.

A day is counted once, and again only when its payments or labels change. Windows are then sums over days, and
give bit for bit what `TerminalLabels` gives that counts every payment.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from flink_jobs.domain.features import LAST_PAYMENTS, no_fraud_days
from flink_jobs.domain.history import WINDOW_DAYS
from flink_jobs.domain.terminal_risk import SCHEMA, VALUE_COLUMNS

LONGEST_WINDOW_DAYS = WINDOW_DAYS[-1]
# Where a record lies: the order in which the lake is read, as far as times are equal.
PLACE = ["kafka_time_us", "kafka_partition", "kafka_offset"]


def count_day(payments: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Count a day's payments by terminal.

    Args:
        payments: transaction_id, terminal_id, time_us and PLACE, of one day, each once.
        labels: transaction_id, is_fraud (0 or 1), labelled_us and PLACE; the latest of a transaction counts,
            one without any is honest.

    Returns:
        terminal_id, payments, frauds, and last_frauds: bit n tells of the (n + 1)th last payment whether it
        was fraud, for the LAST_PAYMENTS last.

    """
    latest = labels.sort_values(["labelled_us", *PLACE], kind="stable").drop_duplicates(
        "transaction_id", keep="last"
    )
    known = latest.set_index("transaction_id")["is_fraud"]
    fraud = payments["transaction_id"].map(known).fillna(0).astype(np.int64)
    ordered = payments.assign(fraud=fraud).sort_values(["terminal_id", "time_us", *PLACE], kind="stable")
    groups = ordered.groupby("terminal_id", sort=False)
    from_last = groups.cumcount(ascending=False).to_numpy()
    bits = np.where(from_last < LAST_PAYMENTS, ordered["fraud"].to_numpy() << np.minimum(from_last, 62), 0)
    counted = groups.agg(payments=("fraud", "size"), frauds=("fraud", "sum"))
    counted["last_frauds"] = ordered.assign(bits=bits).groupby("terminal_id", sort=False)["bits"].sum()
    return counted.reset_index()


class TerminalDays:
    """Counted days, ready to be summed over windows."""

    def __init__(self, counted: Mapping[int, pd.DataFrame], label_delay_days: int) -> None:
        """Take what `count_day` gave, by day since 1970-01-01; a day that is missing has no payments."""
        self._delay_days = label_delay_days
        days = [np.full(len(frame), day, dtype=np.int64) for day, frame in counted.items()]
        frame = pd.concat([*counted.values(), _NOTHING], ignore_index=True)
        day = np.concatenate([*days, np.empty(0, dtype=np.int64)])
        codes, names = pd.factorize(frame["terminal_id"])
        self._names = np.asarray(names, dtype=object)
        self._first_day = int(day.min()) if len(day) else 0
        self._span = int(day.max()) - self._first_day + 2 if len(day) else 1
        keys = codes.astype(np.int64) * self._span + day - self._first_day
        order = np.argsort(keys)
        self._keys, self._days = keys[order], day[order]
        payments, frauds, self._last_frauds = (
            frame[name].to_numpy(np.int64)[order] for name in ("payments", "frauds", "last_frauds")
        )
        self._payments = payments
        self._payments_before = np.concatenate(([0], np.cumsum(payments)))
        self._frauds_before = np.concatenate(([0], np.cumsum(frauds)))
        # the number of all stands for none
        self._with_fraud = np.append(np.flatnonzero(frauds), len(frauds))

    def table(self, day: int) -> pa.Table:
        """Make the rows of a day for what serving looks up; a terminal without payments has none."""
        end = self._begin(day - self._delay_days)
        month = self._begin(day - self._delay_days - LONGEST_WINDOW_DAYS)
        seen = np.flatnonzero(end > month)
        values = self._values(day, seen, end[seen])
        columns = {name: values[:, n] for n, name in enumerate(VALUE_COLUMNS)}
        days = np.full(len(seen), day, dtype=np.int32)
        return pa.table({"terminal_id": self._names[seen], "day": days, **columns}, schema=SCHEMA)

    def _begin(self, day: int) -> NDArray[np.int64]:
        """Give the number of each terminal's first row from a day on."""
        offset = min(max(day - self._first_day, 0), self._span - 1)
        begins: NDArray[np.int64] = np.searchsorted(
            self._keys, np.arange(len(self._names)) * self._span + offset
        )
        return begins

    def _values(self, day: int, terminals: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.float32]:
        values = np.empty((len(terminals), len(VALUE_COLUMNS)), dtype=np.float32)
        for n, window in enumerate(WINDOW_DAYS):
            first = self._begin(day - self._delay_days - window)[terminals]
            count = self._payments_before[end] - self._payments_before[first]
            values[:, 2 * n] = count
            values[:, 2 * n + 1] = (self._frauds_before[end] - self._frauds_before[first]) / np.maximum(
                count, 1
            )
        # first, by now, is where the longest window begins
        values[:, -2] = self._last_share(first, end)
        at = self._with_fraud[np.searchsorted(self._with_fraud[:-1], first)]
        fraud_days = np.append(self._days, 0)[at]
        values[:, -1] = np.where(at < end, day - fraud_days, no_fraud_days(self._delay_days))
        return values

    def _last_share(self, first: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.float64]:
        """Give the share of frauds among the last payments before `end`, from `first` on."""
        taken, frauds = np.zeros(len(end), dtype=np.int64), np.zeros(len(end), dtype=np.int64)
        for back in range(1, LAST_PAYMENTS + 1):
            row = end - back
            there = row >= first
            row = np.maximum(row, 0)
            more = np.where(there, np.minimum(self._payments[row], LAST_PAYMENTS - taken), 0)
            taken += more
            frauds += np.bitwise_count(self._last_frauds[row] & ((1 << more) - 1))
        share: NDArray[np.float64] = frauds / np.maximum(taken, 1)
        return share


_NOTHING = pd.DataFrame(
    {
        "terminal_id": pd.Series([], dtype=object),
        **{name: pd.Series([], dtype=np.int64) for name in ("payments", "frauds", "last_frauds")},
    }
)
