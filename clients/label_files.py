"""Labels from a file, ready to be sent."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from clients.process import ClientError
from flink_jobs.domain.label import Label, parse_label
from training.columns import Mapping
from training.instants import as_datetime64
from training.label_table import LabelTable, read_label_table
from training.tables import DatasetError


class FileLabels(NamedTuple):
    """Labels in the order of the file, and what a user should know of it, a sentence each."""

    labels: list[Label]
    notes: list[str]


def read_label_file(  # noqa: PLR0913 - each says something else of the file
    location: str,
    settings_file: Path | None,
    *,
    by: str | None,
    at: datetime,
    days_later: timedelta | None = None,
    columns: Mapping | None = None,
) -> FileLabels:
    """Read labels from CSV or Parquet.

    Args:
        location: a path or `s3://bucket/key`.
        settings_file: says where `s3://` is.
        by: labelled_by of rows that have none.
        at: labelled_at of rows that have none, if `days_later` is not given.
        days_later: labelled_at is so many days after event_time.
        columns: of the file, by our names, where its own names do not tell.

    Raises:
        ClientError: no such file, a missing column, or a row that is no label.

    """
    required = ["event_time"] if days_later is not None else []
    try:
        table = read_label_table(location, settings_file, columns, required)
    except DatasetError as error:
        raise ClientError(str(error)) from None
    if not by and None in table.labelled_by:
        row = table.labelled_by.index(None) + 1
        raise ClientError(f"{location}, row {row} has no labelled_by; who says so? Give --by NAME")
    return FileLabels(list(_labels(table, location, by, at, days_later)), table.notes)


def _labels(
    table: LabelTable, location: str, by: str | None, at: datetime, days_later: timedelta | None
) -> Iterator[Label]:
    unknown = np.isnat(table.labelled_at)
    times = np.where(unknown, as_datetime64(at), table.labelled_at)
    if days_later is not None and table.event_times is not None:
        times = np.where(unknown, table.event_times + np.timedelta64(days_later), table.labelled_at)
    rows = zip(table.transaction_ids, table.frauds.tolist(), table.labelled_by, times.tolist(), strict=True)
    now_s = time.time()
    for number, (transaction_id, is_fraud, labelled_by, labelled_at) in enumerate(rows, 1):
        label = Label(
            transaction_id, bool(is_fraud), labelled_by or by or "", labelled_at.replace(tzinfo=UTC)
        )
        try:
            yield parse_label(msgspec.json.encode(label), now_s)
        except ValueError as error:
            raise ClientError(f"{location}, row {number}: {error}") from None
