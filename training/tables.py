"""Tables from files, local or ``s3://bucket/key``; each column is checked when it is taken."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flink_jobs.store.object_store import ObjectStoreError, read_object, s3_client
from flink_jobs.store.settings import SettingsError, load_settings

HANDBOOK_COLUMNS = {
    "TRANSACTION_ID": "transaction_id",
    "TX_DATETIME": "event_time",
    "CUSTOMER_ID": "customer_id",
    "TERMINAL_ID": "terminal_id",
    "TX_AMOUNT": "amount",
}
PROJECT_COLUMNS = {name: name for name in HANDBOOK_COLUMNS.values()}


class DatasetError(Exception):
    """The data cannot be used: says which file and column, and what was expected."""


class CheckedColumns:
    """Columns of a table; each is checked when it is taken: errors name file, column and first bad row."""

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
            # whole numbers become floats in a column with gaps
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


def read_location(source: str, settings_file: str | Path | None = None) -> bytes:
    """Read a file, local or ``s3://bucket/key``; DatasetError as for `load`."""
    return _read_object(source, settings_file) if source.startswith("s3://") else _read_file(Path(source))


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
