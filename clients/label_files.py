"""Labels from a file."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq

from clients.process import ClientError
from flink_jobs.domain.label import Label, parse_label
from flink_jobs.store.object_store import read_object, s3_client
from flink_jobs.store.settings import load_settings

_ROWS_AT_ONCE = 8192
# The project's names, and the Fraud Detection Handbook's.
_NAMES = {
    "transaction_id": ("transaction_id", "TRANSACTION_ID"),
    "is_fraud": ("is_fraud", "TX_FRAUD"),
    "labelled_by": ("labelled_by",),
    "labelled_at": ("labelled_at",),
    "event_time": ("event_time", "TX_DATETIME"),
}


def read_label_file(
    location: str,
    settings_file: Path | None,
    *,
    by: str | None,
    at: datetime,
    days_later: timedelta | None = None,
) -> list[Label]:
    """Read labels from CSV or Parquet, in the order of the file.

    Args:
        location: a path or `s3://bucket/key`.
        settings_file: says where `s3://` is.
        by: labelled_by of rows that have none.
        at: labelled_at of rows that have none, if `days_later` is not given.
        days_later: labelled_at is so many days after event_time.

    Raises:
        ClientError: no such file, a missing column, or a row that is no label.

    """
    table = _columns(_table(_content(location, settings_file), location), location)
    if "labelled_by" not in table.column_names and not by:
        raise ClientError(f"{location} has no column labelled_by; who says so? Give --by NAME")
    if days_later is not None and "labelled_at" not in table.column_names:
        if "event_time" not in table.column_names:
            raise ClientError(f"{location} has no column event_time, which --days-later counts from")
        table = table.append_column("labelled_at", pc.add(table["event_time"], pa.scalar(days_later)))
    return list(_labels(table, location, by, at))


def _content(location: str, settings_file: Path | None) -> bytes:
    if location.startswith("s3://"):
        bucket, _, key = location.removeprefix("s3://").partition("/")
        if not bucket or not key:
            raise ClientError(f"{location}: expected s3://bucket/key")
        return read_object(s3_client(load_settings(settings_file).s3), bucket, key)
    try:
        return Path(location).read_bytes()
    except OSError as error:
        raise ClientError(f"cannot read {location}: {error.strerror}") from None


def _table(content: bytes, location: str) -> pa.Table:
    """CSV or Parquet, told apart by how the content begins."""
    try:
        if content.startswith(b"PAR1"):
            return pq.read_table(io.BytesIO(content))
        # an id stays as it is written, leading zeros and all
        ids = {name: pa.string() for name in _NAMES["transaction_id"]}
        options = pc_csv.ConvertOptions(column_types=ids, strings_can_be_null=True)
        return pc_csv.read_csv(io.BytesIO(content), convert_options=options)
    except (pa.ArrowException, OSError) as error:
        raise ClientError(f"{location}: neither CSV nor Parquet that can be read ({error})") from None


def _columns(table: pa.Table, location: str) -> pa.Table:
    """Keep the known columns, with the project's names and types."""
    types = {
        "transaction_id": pa.string(),
        "is_fraud": pa.int64(),
        "labelled_by": pa.string(),
        "labelled_at": pa.timestamp("us", "UTC"),
        "event_time": pa.timestamp("us", "UTC"),
    }
    columns = {}
    for name, spellings in _NAMES.items():
        spelling = next((each for each in spellings if each in table.column_names), None)
        if spelling is None:
            if name in {"transaction_id", "is_fraud"}:
                found = ", ".join(table.column_names)
                raise ClientError(f"{location}: missing column {' or '.join(spellings)}; found: {found}")
            continue
        try:
            columns[name] = _cast(table[spelling], types[name])
        except pa.ArrowException as error:
            raise ClientError(f"{location}: column {spelling}: {error}") from None
    return pa.table(columns)


def _cast(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_timestamp(wanted) and pa.types.is_timestamp(column.type) and column.type.tz is None:
        # a time without a zone is UTC
        return pc.assume_timezone(column.cast(pa.timestamp("us"), safe=False), "UTC")
    return column.cast(wanted, safe=not pa.types.is_timestamp(wanted))


def _labels(table: pa.Table, location: str, by: str | None, at: datetime) -> Iterator[Label]:
    number = 0
    for batch in table.to_batches(_ROWS_AT_ONCE):
        for row in batch.to_pylist():
            number += 1
            try:
                yield _label(row, by, at)
            except ValueError as error:
                raise ClientError(f"{location}, row {number}: {error}") from None


def _label(row: dict[str, Any], by: str | None, at: datetime) -> Label:
    if row["is_fraud"] not in {0, 1}:
        raise ValueError(f"is_fraud is {row['is_fraud']}; 0 or 1 is expected")
    label = {
        "transaction_id": row["transaction_id"],
        "is_fraud": bool(row["is_fraud"]),
        "labelled_by": row.get("labelled_by") or by,
        "labelled_at": (row.get("labelled_at") or at).astimezone(UTC),
    }
    return parse_label(msgspec.json.encode(label))
