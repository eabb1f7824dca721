"""Transactions from a file: the columns tell its kind; values are checked, rows in event-time order.

Files are CSV or Parquet, at a local path or ``s3://bucket/key``, or a folder of the lake. The kinds:

* ``history``: who paid where, when and how much. Column names are those of the Fraud Detection Handbook
  or the project's own; features are computed from each customer's and terminal's past.
* ``columns``: ready numeric columns that go to the model as they are (the schema of ULB's creditcard.csv).
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flink_jobs.domain.manifest import ModelKind
from flink_jobs.store.lake import LakeError, read_lake_folder
from training.instants import as_datetime64
from training.lake_transactions import transactions_frame
from training.tables import (
    HANDBOOK_COLUMNS,
    PROJECT_COLUMNS,
    CheckedColumns,
    DatasetError,
    parse_table,
    read_location,
)

READY_COLUMNS = (*(f"V{n}" for n in range(1, 29)), "Amount")
LABEL = "is_fraud"

# creditcard.csv counts seconds from an unnamed day of September 2013.
READY_EPOCH = np.datetime64("2013-09-01T00:00:00", "us")
_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Schema:
    """The columns of one kind of file, under the names the file gives them."""

    name: str
    kind: ModelKind
    required: tuple[str, ...]
    label: str


SCHEMAS = (
    Schema("transactions (Handbook names)", "history", tuple(HANDBOOK_COLUMNS), "TX_FRAUD"),
    Schema("transactions", "history", tuple(PROJECT_COLUMNS), LABEL),
    Schema("ready numeric columns", "columns", ("Time", *READY_COLUMNS), "Class"),
)


@dataclass(frozen=True)
class Dataset:
    """Checked transactions, ordered by event time.

    `frame` has transaction_id, event_time (UTC, microseconds, no zone), then customer_id, terminal_id and
    amount (`history`) or the ready columns (`columns`), and the column that `label` names.

    Attributes:
        label: the file's own column of frauds (1) and honest transactions (0); None where it has none.
            Labels that came back are no part of this: see `training.labelled_data`.

    """

    kind: ModelKind
    frame: pd.DataFrame
    label: str | None
    source: str
    sha256: str
    left_out: int = 0

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


def load(location: str | Path, settings_file: str | Path | None = None) -> Dataset:
    """Read and check a CSV or Parquet file or a folder of the lake, local or ``s3://bucket/key``.

    Args:
        location: where the file is.
        settings_file: says where ``s3://`` is; found as `load_settings` does if None.

    Raises:
        DatasetError: no such file, an unknown format, a missing column, a value that cannot be used.

    """
    source = str(location)
    try:
        records = read_lake_folder(source, settings_file)
    except LakeError as error:
        raise DatasetError(str(error)) from None
    if records is not None:
        frame, left_out = transactions_frame(records)
        if frame.empty:
            raise DatasetError(f"{source}: none of its {left_out} records is a transaction of a customer")
        return replace(from_frame(frame, source, records.sha256), left_out=left_out)
    content = read_location(source, settings_file)
    frame = parse_table(content, source)
    return from_frame(frame, source, hashlib.sha256(content).hexdigest())


def from_frame(frame: pd.DataFrame, source: str, sha256: str) -> Dataset:
    """Check a table and bring it to the common column names; DatasetError as for `load`."""
    schema = _recognise(frame, source)
    if frame.empty:
        raise DatasetError(f"{source}: has columns but no rows")
    label = schema.label if schema.label in frame.columns else None
    checked = CheckedColumns(frame, source)
    if schema.kind == "history":
        table = _history_table(checked, dict(zip(schema.required, PROJECT_COLUMNS, strict=True)))
    else:
        table = _ready_table(checked)
    if label is not None:
        table[LABEL] = checked.labels(label)
    order = np.argsort(table["event_time"].to_numpy(), kind="stable")
    if not np.array_equal(order, np.arange(len(order))):
        table = table.iloc[order].reset_index(drop=True)
    return Dataset(schema.kind, table, LABEL if label is not None else None, source, sha256)


def _recognise(frame: pd.DataFrame, source: str) -> Schema:
    """Find the schema that shares most columns with the table; all of its columns must be there."""
    present = set(frame.columns)
    schema = max(SCHEMAS, key=lambda known: len(present.intersection(known.required)))
    missing = [name for name in schema.required if name not in present]
    if not missing:
        return schema
    if len(missing) == len(schema.required):
        known = "; or ".join(f"{', '.join(each.required)} [{each.name}]" for each in SCHEMAS)
        raise DatasetError(f"{source}: none of the expected columns is there. Expected: {known}")
    word = "column" if len(missing) == 1 else "columns"
    raise DatasetError(
        f"{source}: missing {word} {', '.join(missing)}. Expected for {schema.name}: "
        f"{', '.join(schema.required)} (and {schema.label} for training); "
        f"found: {', '.join(map(str, frame.columns))}"
    )


def _history_table(checked: CheckedColumns, names: dict[str, str]) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name, common in names.items():
        if common == "event_time":
            columns[common] = checked.times(name)
        elif common == "amount":
            columns[common] = checked.numbers(name, minimum=0)
        else:
            columns[common] = checked.ids(name)
    return pd.DataFrame(columns)


def _ready_table(checked: CheckedColumns) -> pd.DataFrame:
    seconds = checked.numbers("Time")
    columns: dict[str, Any] = {
        "transaction_id": [f"row-{n}" for n in range(1, len(seconds) + 1)],
        "event_time": READY_EPOCH + np.rint(seconds * _MICROSECONDS).astype("timedelta64[us]"),
    }
    for name in READY_COLUMNS:
        columns[name] = checked.numbers(name, minimum=0 if name == "Amount" else None)
    return pd.DataFrame(columns)
