"""Transactions from a file: found out by their columns, checked, in event-time order.

Two kinds are read, as CSV or Parquet, from a local path or from ``s3://bucket/key``, which may be a folder
of the lake:

* ``history``: who paid where, when and how much. Column names are those of the Fraud Detection Handbook
  or the project's own; features are computed from each customer's and terminal's past.
* ``columns``: ready numeric columns that go to the model as they are (the schema of ULB's creditcard.csv).
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flink_jobs.domain.features import LABEL_DELAY_DAYS
from flink_jobs.domain.manifest import ModelKind
from flink_jobs.store.lake import LakeError, read_lake_folder
from flink_jobs.store.object_store import ObjectStoreError, read_object, s3_client
from flink_jobs.store.settings import SettingsError, load_settings
from training.lake_transactions import transactions_frame

if TYPE_CHECKING:
    from training.label_history import LabelHistory

HANDBOOK_COLUMNS = {
    "TRANSACTION_ID": "transaction_id",
    "TX_DATETIME": "event_time",
    "CUSTOMER_ID": "customer_id",
    "TERMINAL_ID": "terminal_id",
    "TX_AMOUNT": "amount",
}
PROJECT_COLUMNS = {name: name for name in HANDBOOK_COLUMNS.values()}
READY_COLUMNS = (*(f"V{n}" for n in range(1, 29)), "Amount")
LABEL = "is_fraud"
LABEL_AFTER_DELAY = "is_fraud_after_delay"

# creditcard.csv counts seconds from an unnamed day of September 2013.
READY_EPOCH = np.datetime64("2013-09-01T00:00:00", "us")
_MICROSECONDS = 1_000_000
_ROWS_AT_ONCE = 8192


class DatasetError(Exception):
    """The data cannot be used: says which file and column, and what was expected."""


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
    amount (`history`) or the ready columns (`columns`), and is_fraud (0 or 1) where `label` is not None.
    Where labels were joined to it, they are all in `labels`; is_fraud is the latest then, and a column
    LABEL_AFTER_DELAY tells what was known as soon as the delay of labels was over.

    Attributes:
        label_delay_days: how late labels come.

    """

    kind: ModelKind
    frame: pd.DataFrame
    label: str | None
    source: str
    sha256: str
    labels: "LabelHistory | None" = None
    left_out: int = 0
    label_delay_days: int = LABEL_DELAY_DAYS

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


def read_location(source: str, settings_file: str | Path | None = None) -> bytes:
    """Read a file, local or ``s3://bucket/key``; DatasetError as for `load`."""
    return _read_object(source, settings_file) if source.startswith("s3://") else _read_file(Path(source))


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


def iter_transactions(dataset: Dataset) -> Iterator[tuple[dict[str, Any], int | None]]:
    """Give each transaction as its wire message, with its label, in event-time order.

    The label is None where the data has none.
    """
    frame = dataset.frame
    for start in range(0, len(frame), _ROWS_AT_ONCE):
        rows = frame.iloc[start : start + _ROWS_AT_ONCE]
        labels: list[int | None]
        labels = [None] * len(rows) if dataset.label is None else rows[dataset.label].tolist()
        yield from zip(_messages(dataset, rows), labels, strict=True)


def _messages(dataset: Dataset, rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    ids = rows["transaction_id"].tolist()
    times = _wire_times(rows["event_time"].to_numpy())
    if dataset.kind == "history":
        others = (rows[name].tolist() for name in ("customer_id", "terminal_id", "amount"))
        for transaction_id, event_time, customer_id, terminal_id, amount in zip(
            ids, times, *others, strict=True
        ):
            yield {
                "transaction_id": transaction_id,
                "event_time": event_time,
                "customer_id": customer_id,
                "terminal_id": terminal_id,
                "amount": amount,
            }
        return
    names = dataset.feature_columns
    values = rows[list(names)].to_numpy(np.float64).tolist()
    amounts = rows["Amount"].tolist()
    for transaction_id, event_time, amount, row in zip(ids, times, amounts, values, strict=True):
        yield {
            "transaction_id": transaction_id,
            "event_time": event_time,
            "amount": amount,
            "features": dict(zip(names, row, strict=True)),
        }


def _wire_times(times: NDArray[Any]) -> list[str]:
    """ISO 8601 in UTC; whole seconds are written without a fraction."""
    whole = times.astype("datetime64[s]")
    unit: Literal["s", "us"] = "s" if np.array_equal(whole.astype(times.dtype), times) else "us"
    return [text + "Z" for text in np.datetime_as_string(times, unit=unit).tolist()]


def as_datetime64(value: str | datetime) -> np.datetime64:
    """Give a time in UTC as the frames have it."""
    moment = value if isinstance(value, datetime) else parse_instant(value)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(moment, "us")


def parse_instant(text: str) -> datetime:
    """Read a date or date-time in ISO 8601, UTC where it names no zone; ValueError otherwise."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _recognise(frame: pd.DataFrame, source: str) -> Schema:
    """Find the schema that most columns speak for; all of its columns must be there."""
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


def _history_table(checked: "CheckedColumns", names: dict[str, str]) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name, common in names.items():
        if common == "event_time":
            columns[common] = checked.times(name)
        elif common == "amount":
            columns[common] = checked.numbers(name, minimum=0)
        else:
            columns[common] = checked.ids(name)
    return pd.DataFrame(columns)


def _ready_table(checked: "CheckedColumns") -> pd.DataFrame:
    seconds = checked.numbers("Time")
    columns: dict[str, Any] = {
        "transaction_id": [f"row-{n}" for n in range(1, len(seconds) + 1)],
        "event_time": READY_EPOCH + np.rint(seconds * _MICROSECONDS).astype("timedelta64[us]"),
    }
    for name in READY_COLUMNS:
        columns[name] = checked.numbers(name, minimum=0 if name == "Amount" else None)
    return pd.DataFrame(columns)


class CheckedColumns:
    """Columns of a table, each checked as it is taken; errors name the file, the column and the first row."""

    def __init__(self, frame: pd.DataFrame, source: str) -> None:
        self._frame = frame
        self._source = source

    def numbers(self, name: str, minimum: float | None = None) -> NDArray[np.float64]:
        """Give finite numbers."""
        column = self._frame[name]
        values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
        self._refuse(name, ~np.isfinite(values), "a number")
        if minimum is not None:
            self._refuse(name, values < minimum, f"a number not below {minimum:g}")
        return values

    def labels(self, name: str) -> NDArray[np.int8]:
        """Give 0 or 1."""
        values = self.numbers(name)
        self._refuse(name, (values != 0) & (values != 1), "0 or 1")
        return values.astype(np.int8)

    def times(self, name: str) -> NDArray[Any]:
        """Give times in UTC, microseconds, no zone."""
        column = self._frame[name]
        if pd.api.types.is_numeric_dtype(column):
            self._refuse(
                name, np.ones(len(column), dtype=bool), "a date and time such as 2018-07-01T00:00:31Z"
            )
        layout = None if pd.api.types.is_datetime64_any_dtype(column) else "ISO8601"
        times = pd.to_datetime(column, errors="coerce", utc=True, format=layout)
        self._refuse(name, times.isna().to_numpy(), "a date and time such as 2018-07-01T00:00:31Z")
        return times.dt.tz_localize(None).to_numpy().astype("datetime64[us]")

    def ids(self, name: str) -> list[str]:
        """Give identifiers as text."""
        column = self._frame[name]
        if pd.api.types.is_float_dtype(column):
            # whole numbers become floats where a table had gaps
            whole = column.notna() & (column % 1 == 0)
            self._refuse(name, ~whole.to_numpy(), "an identifier")
            column = column.astype(np.int64)
        self._refuse(name, (column.isna() | (column.astype(str) == "")).to_numpy(), "an identifier")
        return [str(value) for value in column.tolist()]

    def _refuse(self, name: str, bad: NDArray[np.bool_], expected: str) -> None:
        if not bad.any():
            return
        first = int(np.argmax(bad))
        value = self._frame[name].iloc[first]
        shown = "empty" if pd.isna(value) else repr(value if isinstance(value, str) else value.item())
        raise DatasetError(
            f"{self._source}: column {name}, row {first + 1} is {shown}; expected {expected} "
            f"({int(bad.sum())} such rows; the first data row is row 1)"
        )


def parse_table(content: bytes, source: str) -> pd.DataFrame:
    """CSV or Parquet, told apart by the content's first bytes, not by the name."""
    try:
        if content.startswith(b"PAR1"):
            return pd.read_parquet(io.BytesIO(content))
        ids = {name: str for name in (*HANDBOOK_COLUMNS, *PROJECT_COLUMNS) if name.lower().endswith("_id")}
        return pd.read_csv(io.BytesIO(content), dtype=ids, low_memory=False)
    except (ValueError, OSError) as error:
        raise DatasetError(f"{source}: neither CSV nor Parquet that can be read ({error})") from error


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file (looked from {Path.cwd()})") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from None


def _read_object(location: str, settings_file: str | Path | None) -> bytes:
    bucket, _, key = location.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise DatasetError(f"{location}: expected s3://bucket/key")
    try:
        return read_object(s3_client(load_settings(settings_file).s3), bucket, key)
    except (ObjectStoreError, SettingsError) as error:
        raise DatasetError(str(error)) from None
