"""Labels that came back, each from the day on which it was known.

A label counts from the day on which the delay after its transaction is over, or it was given, if that is
later. So a day's features know what was known when that day began.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flink_jobs.domain.label import parse_label
from flink_jobs.store.lake import EmptyLakeError, Lake, LakeError, find_lake
from training.columns import Mapping
from training.instants import as_datetime64
from training.label_table import read_label_table
from training.lake_transactions import digest_of
from training.tables import DatasetError, TooLittleDataError

_COLUMNS = ("transaction_id", "is_fraud", "labelled_at")


class Changes(NamedTuple):
    """Labels of transactions by row, in the order in which they became known.

    Attributes:
        rows: numbers of rows, one a label.
        known_days: the day, since 1970-01-01, from whose beginning on the label counts.
        frauds: 1 for fraud.

    """

    rows: NDArray[np.int64]
    known_days: NDArray[np.int32]
    frauds: NDArray[np.int8]


@dataclass(frozen=True)
class LabelHistory:
    """All labels that were given, the latest last.

    `frame` has transaction_id, is_fraud (0 or 1) and labelled_at (UTC, microseconds, no zone); `notes` has
    what a user should know of a file, a sentence each.
    """

    frame: pd.DataFrame
    source: str
    sha256: str
    left_out: int = 0
    notes: tuple[str, ...] = ()

    def before(self, until: str | datetime | None) -> "LabelHistory":
        """Leave out labels that were given at this time or later."""
        if until is None:
            return self
        return replace(self, frame=self.frame[self.frame["labelled_at"].to_numpy() < as_datetime64(until)])

    def on(self, transaction_ids: "pd.Series[str]", days: NDArray[np.int32], delay_days: int) -> Changes:
        """Join to transactions, which happened on `days`."""
        labelled = np.flatnonzero(transaction_ids.isin(self.frame["transaction_id"]).to_numpy())
        ids = transaction_ids.iloc[labelled].to_numpy(dtype=object)
        rows = pd.DataFrame({"transaction_id": ids, "row": labelled})
        joined = self.frame.merge(rows, on="transaction_id")
        at = joined["row"].to_numpy(np.int64)
        given = joined["labelled_at"].to_numpy().astype("datetime64[D]").astype(np.int32)
        known = np.maximum(given + 1, days[at] + known_after_days(delay_days)).astype(np.int32)
        return Changes(at, known, joined["is_fraud"].to_numpy(np.int8))


def known_after_days(delay_days: int) -> int:
    """Give the number of days after which labels of a day's transactions count, if given by then."""
    return delay_days + 1


def read_label_history(
    location: str,
    settings_file: str | Path | None = None,
    columns: Mapping | None = None,
    since: datetime | None = None,
) -> LabelHistory:
    """Read labels from the lake's folder, or from a CSV or Parquet file.

    Args:
        location: a folder or a file, a path or `s3://bucket/key`.
        settings_file: says where `s3://` is.
        columns: of a file, by our names, where its own names do not tell.
        since: of the lake, leave out what came before transactions of this time.

    Raises:
        TooLittleDataError: a folder of the lake into which no label has come yet.
        DatasetError: nothing there, a missing column, or a value that cannot be used.

    """
    try:
        lake = find_lake(location, settings_file)
        if lake is not None:
            return label_history_of(lake, location, None if since is None else since.timestamp())
    except EmptyLakeError:
        raise TooLittleDataError(
            f"{location}: there are no labels yet; fraud-label sends them, and kafka_to_minio_job keeps them"
        ) from None
    except LakeError as error:
        raise DatasetError(str(error)) from None
    return _from_file(location, settings_file, columns)


def label_history_of(lake: Lake, source: str, since_s: float | None = None) -> LabelHistory:
    """Read the lake's labels, all or those of what happened since a time; errors as for `Lake`."""
    rows, left_out = [], 0
    for payload, *place in lake.records(since_s):
        try:
            label = parse_label(payload, place[0] / 1e6)
        except ValueError:
            left_out += 1
            continue
        given_at = label.labelled_at.astimezone(UTC).replace(tzinfo=None)
        rows.append((place, label.transaction_id, label.is_fraud, given_at))
    # of labels that were given at the same time, the last to come counts
    rows.sort(key=lambda row: row[0])
    _, ids, frauds, times = zip(*rows, strict=True) if rows else ((),) * 4
    columns = (list(ids), list(frauds), np.array(times, dtype="datetime64[us]"))
    frame = pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True)))
    return _history(frame, source, digest_of(frame), left_out)


def _from_file(location: str, settings_file: str | Path | None, columns: Mapping | None) -> LabelHistory:
    table = read_label_table(location, settings_file, columns, ["labelled_at"], "--label-columns")
    parts = (table.transaction_ids, table.frauds, table.labelled_at)
    frame = pd.DataFrame(dict(zip(_COLUMNS, parts, strict=True)))
    return replace(_history(frame, location, table.sha256, 0), notes=tuple(table.notes))


def _history(frame: pd.DataFrame, source: str, sha256: str, left_out: int) -> LabelHistory:
    # a frame without rows has no other way to know its columns' types
    frame = frame.astype({"transaction_id": object, "is_fraud": np.int8}).sort_values(
        "labelled_at", kind="stable", ignore_index=True
    )
    return LabelHistory(frame, source, sha256, left_out)
