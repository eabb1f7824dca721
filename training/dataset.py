"""Transactions from a file: the columns tell its kind; values are checked, rows in event-time order.

Files are CSV or Parquet, at a local path or ``s3://bucket/key``, or a folder of the lake. The kinds:

* ``history``: who paid where, when and how much. Column names are those of the Fraud Detection Handbook
  or the project's own; features are computed from each customer's and terminal's past.
* ``columns``: ready numeric columns that go to the model as they are (the schema of ULB's creditcard.csv).
"""

import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from flink_jobs.domain.manifest import ModelKind
from flink_jobs.domain.transaction import MAX_AMOUNT
from flink_jobs.store.lake import EmptyLakeError, LakeError, find_lake
from flink_jobs.store.settings import SettingsError, own_currency
from training.checked_columns import CheckedColumns
from training.columns import CURRENCY, LABEL, Column, Layout, Mapping, transactions_layout
from training.instants import as_datetime64
from training.known_tables import READY_COLUMNS
from training.lake_transactions import read_lake_transactions
from training.repeats import without_repeats
from training.tables import DatasetError, Table, TooLittleDataError, open_table, table_in_memory

_MICROSECONDS = 1_000_000
# The model takes them as float32.
_LARGEST_FEATURE = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Dataset:
    """Checked transactions, ordered by event time.

    `frame` has transaction_id, event_time (UTC, microseconds, no zone), then customer_id, terminal_id and
    amount (`history`) or the ready columns (`columns`), and the column that `label` names.

    Attributes:
        label: the file's own column of frauds (1) and honest transactions (0); None where it has none.
            Labels that came back are no part of this: see `training.labelled_data`.
        notes: what a user should know of the data, a sentence each.

    """

    kind: ModelKind
    frame: pd.DataFrame
    label: str | None
    source: str
    sha256: str
    left_out: int = 0
    notes: tuple[str, ...] = ()

    def between(self, since: str | datetime | None, until: str | datetime | None) -> "Dataset":
        """Transactions with since <= event time < until; None leaves a side open."""
        times = self.frame["event_time"].to_numpy()
        first = 0 if since is None else np.searchsorted(times, as_datetime64(since), side="left")
        end = len(times) if until is None else np.searchsorted(times, as_datetime64(until), side="left")
        return replace(self, frame=self.frame.iloc[int(first) : max(int(first), int(end))])

    def tail(self, first_row: int) -> "Dataset":
        """Leave out the rows before `first_row`."""
        return replace(self, frame=self.frame.iloc[first_row:])

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """Columns that are features as they stand; none for the `history` kind."""
        return READY_COLUMNS if self.kind == "columns" else ()

    def times_s(self) -> NDArray[np.float64]:
        """Event times in seconds since 1970, as serving reads them from the wire."""
        microseconds = self.frame["event_time"].to_numpy().astype("datetime64[us]").astype(np.int64)
        return np.asarray(microseconds / _MICROSECONDS, dtype=np.float64)

    def days(self) -> NDArray[np.int32]:
        """Event days, counted from 1970-01-01."""
        days = self.frame["event_time"].to_numpy().astype("datetime64[D]").astype(np.int64)
        return days.astype(np.int32)


def load(  # noqa: PLR0913, PLR0917 - each cuts or tells the data
    location: str | Path,
    settings_file: str | Path | None = None,
    since: str | datetime | None = None,
    until: str | datetime | None = None,
    columns: Mapping | None = None,
    option: str = "--columns",
) -> Dataset:
    """Read and check a CSV or Parquet file or a folder of the lake, local or ``s3://bucket/key``.

    Args:
        location: where the file is.
        settings_file: says where ``s3://`` is; found as `load_settings` does if None.
        since: leaves out earlier transactions; of the lake, they are not even read.
        until: leaves out what came from then on.
        columns: of a file, by our names, where its own names do not tell.
        option: by which a user tells them, for messages.

    Raises:
        TooLittleDataError: a folder of the lake into which nothing has come yet.
        DatasetError: no such file, an unknown format, a missing column, or a value that the job would refuse.

    """
    source = str(location)
    try:
        lake = find_lake(source, settings_file)
        read = None if lake is None else read_lake_transactions(lake, since, until)
    except EmptyLakeError:
        raise TooLittleDataError(
            f"{source}: there are no transactions yet; kafka_to_minio_job writes them here"
        ) from None
    except LakeError as error:
        raise DatasetError(str(error)) from None
    if read is not None:
        if read.frame.empty and since is None and until is None:
            raise DatasetError(
                f"{source}: none of its {read.left_out} records is a transaction of a customer"
            )
        return Dataset("history", read.frame, None, source, read.sha256, read.left_out, read.notes)
    table = open_table(source, settings_file, option)
    layout = transactions_layout(table, columns)
    try:
        currency = own_currency(settings_file) if CURRENCY in layout.columns else None
    except SettingsError as error:
        raise DatasetError(str(error)) from None
    return _read(table, layout, time.time(), currency).between(since, until)


def from_frame(frame: pd.DataFrame, source: str, sha256: str) -> Dataset:
    """Check a table in memory, whose times may lie ahead; DatasetError as for `load`."""
    table = table_in_memory(pa.Table.from_pandas(frame, preserve_index=False), source, sha256)
    return _read(table, transactions_layout(table))


def _read(table: Table, layout: Layout, now_s: float | None = None, currency: str | None = None) -> Dataset:
    """Check a table and bring it to the common column names, in event-time order."""
    columns = dict(layout.columns)
    if layout.kind == "columns":
        columns |= {name: Column(name) for name in READY_COLUMNS}
    checked = CheckedColumns(table, columns, now_s)
    if not checked.rows:
        raise DatasetError(f"{table.source}: has columns but no rows")
    frame = _frame(checked, layout)
    if currency is not None:
        checked.check_currency(CURRENCY, currency)
    notes = list(checked.notes)
    if "transaction_id" in checked:
        frame, repeats = without_repeats(frame, table.source)
        notes += repeats
    elif layout.kind == "history":
        notes.append(
            f"{table.source}: has no column transaction_id; ids are made of the file's content and the row"
        )
    order = np.argsort(frame["event_time"].to_numpy(), kind="stable")
    if not np.array_equal(order, np.arange(len(order))):
        frame = frame.iloc[order]
    return Dataset(
        layout.kind,
        frame.reset_index(drop=True),
        LABEL if LABEL in checked else None,
        table.source,
        table.sha256,
        notes=tuple(notes),
    )


def _frame(checked: CheckedColumns, layout: Layout) -> pd.DataFrame:
    # values that are equal share one object
    columns = {
        "transaction_id": checked.transaction_ids().to_pandas(),
        "event_time": checked.times("event_time"),
    }
    if layout.kind == "history":
        columns |= {name: checked.ids(name).to_pandas() for name in ("customer_id", "terminal_id")}
        columns["amount"] = checked.numbers("amount", least=0, most=MAX_AMOUNT)
    else:
        for name in READY_COLUMNS:
            least, most = (0, MAX_AMOUNT) if name == "Amount" else (-_LARGEST_FEATURE, _LARGEST_FEATURE)
            columns[name] = checked.numbers(name, least, most)
    if LABEL in checked:
        columns[LABEL] = checked.labels(LABEL)
    return pd.DataFrame(columns)
